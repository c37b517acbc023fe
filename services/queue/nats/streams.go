package nats

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"

	"github.com/chandler-broker/chandler/services"
)

// usage is what JetStream holds of one account, on all servers together.
type usage struct {
	storage, memory services.Size
	streams         int64
	// reserved are the limits of the account on the servers that have loaded it.
	reserved []reserved
	// enabled is how many servers have JetStream.
	enabled int
	// peers are the names of the servers that keep JetStream's state, including those
	// that are away.
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
func (l *link) usageOf(ctx context.Context, all servers, account string) (*usage, error) {
	answers, err := reports[streamReport](ctx, l, all, askStreams, map[string]any{"account": account, "streams": true})
	if err != nil {
		return nil, err
	}
	u := &usage{}
	names := map[string]bool{}
	for _, r := range answers {
		u.add(r, account, names)
	}
	if u.enabled == 0 {
		return nil, errDisabled
	}
	u.streams = int64(len(names))
	return u, nil
}

const askStreams = "ask for the account's streams"

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
		// Each server reports all that it has heard of, its own and the others'.
		u.storage = max(u.storage, services.Size(a.StorageBytes))
		u.memory = max(u.memory, services.Size(a.MemoryBytes))
		u.reserved = append(u.reserved, reserved{a.ReservedStorage, a.ReservedMemory})
		for _, s := range a.Streams {
			names[s.Name] = true
		}
	}
}

// away are the servers of JetStream that did not answer.
func (u *usage) away(all servers) []string {
	var away []string
	for _, name := range u.peers {
		if name != "" && !slices.Contains(slices.Collect(maps.Values(all)), name) {
			away = append(away, name)
		}
	}
	slices.Sort(away)
	return away
}

// holds says whether every server holds the account to the plan. A single server
// reserves what plans promise. If its store is too small for another account, it leaves
// that without streams and says so only in its log.
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

// activate makes all servers load the account and checks that they hold it to the plan.
// Else the first stream of an application would load it, and fail: a server may be asked
// to store a stream while it still reads the account.
func (a *account) activate(ctx context.Context, p Plan) (*usage, error) {
	if err := a.b.link.activate(ctx, a.servers, a.public); err != nil {
		return nil, err
	}
	u, err := a.b.link.usageOf(ctx, a.servers, a.public)
	if err != nil {
		return nil, err
	}
	if !u.holds(p) {
		return nil, services.OutOfCapacity(fmt.Errorf("the server's JetStream has no room left for an account of %s on disk and %s in memory; raise its max_file_store and max_memory_store, or remove instances", p.Storage, p.Memory))
	}
	return u, nil
}
