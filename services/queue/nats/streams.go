package nats

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"

	"github.com/chandler-broker/chandler/services"
)

// usage is what JetStream has of one account, on all servers together.
type usage struct {
	storage, memory services.Size
	streams         int64
	// reserved are the limits that servers hold the account to, of those that
	// have it in use.
	reserved []reserved
	// enabled is how many servers have JetStream.
	enabled int
	// peers are the servers that keep JetStream's state, by name, whether
	// they are there or not.
	peers []string
}

// reserved are two numbers of bytes as the server writes them: without a limit it
// is more than Size holds.
type reserved struct{ storage, memory json.Number }

// streamReport is what a server tells of JetStream (NATS documentation,
// "Monitoring", jsz).
type streamReport struct {
	Disabled bool `json:"disabled"`
	Meta     *struct {
		Leader   string `json:"leader"`
		Replicas []struct {
			Name string `json:"name"`
		} `json:"replicas"`
	} `json:"meta_cluster"`
	Accounts []struct {
		ID              string      `json:"id"`
		MemoryBytes     int64       `json:"memory"`
		StorageBytes    int64       `json:"storage"`
		ReservedMemory  json.Number `json:"reserved_memory"`
		ReservedStorage json.Number `json:"reserved_storage"`
		Streams         []struct {
			Name string `json:"name"`
		} `json:"stream_detail"`
	} `json:"account_details"`
}

var errDisabled = errors.New("no server has JetStream enabled; enable it in the servers' configuration")

// usageOf asks all servers about an account.
func (l *link) usageOf(ctx context.Context, there servers, account string) (*usage, error) {
	request, err := json.Marshal(map[string]any{"account": account, "streams": true})
	if err != nil {
		return nil, err
	}
	answers, err := l.all(ctx, there, streamSubject, request)
	if err != nil {
		return nil, fmt.Errorf("ask for the account's streams: %w", err)
	}
	u := &usage{}
	names := map[string]bool{}
	for _, data := range answers {
		var r streamReport
		if err := json.Unmarshal(data, &r); err != nil {
			return nil, fmt.Errorf("ask for the account's streams: %w", errNonsense)
		}
		u.add(r, account, names)
	}
	if u.enabled == 0 {
		return nil, errDisabled
	}
	u.streams = int64(len(names))
	return u, nil
}

func (u *usage) add(r streamReport, account string, names map[string]bool) {
	if !r.Disabled {
		u.enabled++
	}
	if r.Meta != nil && u.peers == nil {
		u.peers = append(u.peers, r.Meta.Leader)
		for _, p := range r.Meta.Replicas {
			u.peers = append(u.peers, p.Name)
		}
	}
	for _, a := range r.Accounts {
		if a.ID != account {
			continue
		}
		// Each server tells of all, as far as it has heard: its own and what the
		// others told it.
		u.storage = max(u.storage, services.Size(a.StorageBytes))
		u.memory = max(u.memory, services.Size(a.MemoryBytes))
		u.reserved = append(u.reserved, reserved{a.ReservedStorage, a.ReservedMemory})
		for _, s := range a.Streams {
			names[s.Name] = true
		}
	}
}

// away are the servers of JetStream that did not answer.
func (u *usage) away(there servers) []string {
	var away []string
	for _, name := range u.peers {
		if name != "" && !slices.Contains(valuesOf(there), name) {
			away = append(away, name)
		}
	}
	slices.Sort(away)
	return away
}

func valuesOf(there servers) []string {
	names := make([]string, 0, len(there))
	for _, name := range there {
		names = append(names, name)
	}
	return names
}

// holds says whether every server holds the account to the plan. A server by
// itself reserves what plans promise and, where its store is too small for one
// more, logs that and leaves the account without streams: nobody else is told.
func (u *usage) holds(p Plan) bool {
	want := reserved{number(p.Storage), number(p.Memory)}
	for _, r := range u.reserved {
		if r != want {
			return false
		}
	}
	return len(u.reserved) >= u.enabled
}

// number is a size in bytes as JSON has it.
func number(s services.Size) json.Number { return json.Number(strconv.FormatInt(int64(s), 10)) }

// settled makes all servers take the account into use and checks that they hold
// it to the plan. Else the first stream of an application would do that, and
// fail: a server may be told to keep a stream while it still reads the account.
func (a *account) settled(ctx context.Context, p Plan) (*usage, error) {
	if err := a.b.link.use(ctx, a.there, a.public); err != nil {
		return nil, err
	}
	u, err := a.b.link.usageOf(ctx, a.there, a.public)
	if err != nil {
		return nil, err
	}
	if !u.holds(p) {
		return nil, services.OutOfCapacity(fmt.Errorf("the server's JetStream has no room left for an account of %s on disk and %s in memory; raise its max_file_store and max_memory_store, or remove instances", p.Storage, p.Memory))
	}
	return u, nil
}
