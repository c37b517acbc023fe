package trove

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/gophercloud/gophercloud/v2"

	"github.com/chandler-broker/chandler/services"
	"github.com/chandler-broker/chandler/services/openstack"
)

// api is Trove in one project (Trove API Reference, v1.0).
type api struct{ client *gophercloud.ServiceClient }

// server is an instance of Trove.
type server struct {
	ID, Name string
	// Status is Trove's, see status.go.
	Status string
	Flavor struct{ ID string }
	Volume struct {
		Size int     // GB
		Used float64 // GB; only of a single server
	}
	Datastore struct{ Type, Version string }
	// Hostname is set, and no addresses, where Trove registers names in Designate.
	Hostname  string
	Addresses []address
	ReplicaOf *struct{ ID string } `json:"replica_of"`
	// Created and Fault are only of a single server. Fault is the last error, even one of a
	// request that Trove refused: only a Status says whether the server works.
	Created timestamp
	Fault   *fault
}

type address struct{ Address, Type, Network string }

type fault struct {
	Message string
	Created timestamp
}

// timestamp is a time of Trove's, which is UTC without a zone.
type timestamp struct{ time.Time }

// UnmarshalJSON reads the time; the zero time for another form.
func (t *timestamp) UnmarshalJSON(data []byte) error {
	t.Time, _ = time.Parse(`"`+gophercloud.RFC3339NoZ+`"`, string(data))
	return nil
}

// user is a user of a server's databases.
type user struct {
	Name      string
	Databases []named
}

// grants are the names of the databases that a user may use, existing or not.
func (u user) grants() (names []string) {
	for _, d := range u.Databases {
		names = append(names, d.Name)
	}
	return names
}

// named is a part of lists and requests.
type named struct {
	Name string `json:"name"`
}

func (a api) call(ctx context.Context, method string, body, answer any, path ...string) error {
	return openstack.Call(ctx, a.client, method, a.client.ServiceURL(path...), body, answer)
}

// maxPages ends a list whose pages lead in a circle.
const maxPages = 10000

// pages reads all pages of a list. A page may be empty and still have a successor, because Trove
// hides its own users. The address of the next page is Trove's idea of its own, so that only its
// marker is of use.
func pages[T any](ctx context.Context, a api, key string, path ...string) ([]T, error) {
	var all []T
	last, query := "", ""
	for range maxPages {
		var answer map[string]json.RawMessage
		if err := openstack.Call(ctx, a.client, http.MethodGet, a.client.ServiceURL(path...)+query, nil, &answer); err != nil {
			return nil, err
		}
		var page []T
		if err := json.Unmarshal(answer[key], &page); err != nil {
			return nil, fmt.Errorf("Trove answers a list without %s", key) //nolint:staticcheck // a name
		}
		all = append(all, page...)
		marker, more := next(answer["links"])
		if !more {
			return all, nil
		}
		if marker == last {
			break
		}
		last, query = marker, "?"+url.Values{"marker": {marker}}.Encode()
	}
	return nil, fmt.Errorf("Trove answers pages of %s that lead in a circle", key) //nolint:staticcheck // a name
}

// next is the marker of the next page.
func next(links json.RawMessage) (marker string, ok bool) {
	var list []struct{ Rel, Href string }
	_ = json.Unmarshal(links, &list) // absent from a whole list
	for _, l := range list {
		u, err := url.Parse(l.Href)
		if l.Rel == "next" && err == nil {
			marker = u.Query().Get("marker")
			// Trove escapes the marker twice, and reads it once.
			if once, err := url.PathUnescape(marker); err == nil {
				marker = once
			}
			return marker, marker != ""
		}
	}
	return "", false
}

func (a api) servers(ctx context.Context) ([]server, error) {
	return pages[server](ctx, a, "instances", "instances")
}

// server returns a server with what lists do not contain.
func (a api) server(ctx context.Context, id string) (server, error) {
	var answer struct{ Instance server }
	err := a.call(ctx, http.MethodGet, nil, &answer, "instances", id)
	return answer.Instance, err
}

// create asks for a server with one database, or with the content of a backup unless its ID is
// empty.
func (a api) create(ctx context.Context, name, flavor string, p Plan, database map[string]string, backup string) error {
	volume := map[string]any{"size": p.gigabytes()}
	request := map[string]any{
		"name": name, "flavorRef": flavor, "volume": volume,
		"datastore": map[string]string{"type": p.Datastore, "version": p.Version},
	}
	if backup == "" {
		request["databases"] = []any{database}
	} else {
		request["restorePoint"] = map[string]string{"backupRef": backup}
	}
	if p.VolumeType != "" {
		volume["type"] = p.VolumeType
	}
	if p.Network != "" {
		request["nics"] = []any{map[string]string{"net-id": p.Network}}
	}
	if p.AvailabilityZone != "" {
		request["availability_zone"] = p.AvailabilityZone
	}
	if p.Public || len(p.AllowedCIDRs) > 0 {
		access := map[string]any{"is_public": p.Public}
		if len(p.AllowedCIDRs) > 0 {
			access["allowed_cidrs"] = p.AllowedCIDRs
		}
		request["access"] = access
	}
	return a.call(ctx, http.MethodPost, map[string]any{"instance": request}, nil, "instances")
}

func (a api) delete(ctx context.Context, id string) error {
	return a.call(ctx, http.MethodDelete, nil, nil, "instances", id)
}

// action asks for one of "resize" and "restart".
func (a api) action(ctx context.Context, id, name string, arguments any) error {
	return a.call(ctx, http.MethodPost, map[string]any{name: arguments}, nil, "instances", id, "action")
}

// flavor returns the ID of the flavor with this name or ID; empty if no flavor has it.
func (a api) flavor(ctx context.Context, text string) (string, error) {
	flavors, err := pages[struct{ ID, Name any }](ctx, a, "flavors", "flavors")
	if err != nil {
		return "", err
	}
	byName := ""
	for _, f := range flavors {
		id := fmt.Sprint(f.ID) // a number, if the flavor's ID is one
		if id == text {
			return id, nil
		}
		if f.Name == text {
			byName = id
		}
	}
	return byName, nil
}

func (a api) databases(ctx context.Context, server string) ([]named, error) {
	return pages[named](ctx, a, "databases", "instances", server, "databases")
}

func (a api) createDatabase(ctx context.Context, server string, database map[string]string) error {
	return a.call(ctx, http.MethodPost, map[string]any{"databases": []any{database}}, nil, "instances", server, "databases")
}

func (a api) users(ctx context.Context, server string) ([]user, error) {
	return pages[user](ctx, a, "users", "instances", server, "users")
}

// grants are the databases that a user may use, existing or not.
func (a api) grants(ctx context.Context, server, user string) ([]string, error) {
	list, err := pages[named](ctx, a, "databases", "instances", server, "users", user, "databases")
	var names []string
	for _, d := range list {
		names = append(names, d.Name)
	}
	return names, err
}

func (a api) createUser(ctx context.Context, server, name string, password services.Secret, databases ...string) error {
	request := map[string]any{"name": name, "password": password.Reveal(), "host": anywhere, "databases": namedAll(databases)}
	return a.call(ctx, http.MethodPost, map[string]any{"users": []any{request}}, nil, "instances", server, "users")
}

func (a api) setPassword(ctx context.Context, server, name string, password services.Secret) error {
	request := map[string]any{"name": name, "password": password.Reveal(), "host": anywhere}
	return a.call(ctx, http.MethodPut, map[string]any{"users": []any{request}}, nil, "instances", server, "users")
}

func (a api) grant(ctx context.Context, server, name string, databases ...string) error {
	return a.call(ctx, http.MethodPut, map[string]any{"databases": namedAll(databases)}, nil, "instances", server, "users", name, "databases")
}

func (a api) revoke(ctx context.Context, server, name, database string) error {
	return a.call(ctx, http.MethodDelete, nil, nil, "instances", server, "users", name, "databases", database)
}

func (a api) deleteUser(ctx context.Context, server, name string) error {
	return a.call(ctx, http.MethodDelete, nil, nil, "instances", server, "users", name)
}

// anywhere is the host of users who may connect from every address.
const anywhere = "%"

func namedAll(names []string) []named {
	list := make([]named, len(names))
	for i, n := range names {
		list[i] = named{n}
	}
	return list
}

// owned are what a project may contain besides servers: backups and configuration groups, which
// Trove lists and deletes alike.
func owned() []string { return []string{"backups", "configurations"} }

func (a api) ids(ctx context.Context, kind string) ([]string, error) {
	list, err := pages[struct{ ID string }](ctx, a, kind, kind)
	var ids []string
	for _, item := range list {
		ids = append(ids, item.ID)
	}
	return ids, err
}

func (a api) deleteOwned(ctx context.Context, kind, id string) error {
	return a.call(ctx, http.MethodDelete, nil, nil, kind, id)
}

// line is a message of Trove's in one line.
func line(message string) string { return strings.Join(strings.Fields(message), " ") }
