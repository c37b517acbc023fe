package nats

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

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
	// peers are the servers that keep JetStream's state, including those that are away.
	peers []string
}

// reserved are numbers of bytes. The server's number for "no limit" is more than Size holds.
type reserved struct{ storage, memory float64 }

// report is what a server tells of JetStream (NATS documentation, "Monitoring", jsz). How much of
// it is present depends on the question.
type report struct {
	Disabled bool
	Memory   int64 // in use, by all accounts
	Storage  int64
	Config   struct {
		Memory  int64 `json:"max_memory"`
		Storage int64 `json:"max_storage"`
	}
	API    struct{ Level int }
	Limits struct {
		Window   time.Duration `json:"max_duplicate_window"`
		Batches  int           `json:"max_batch_inflight_per_stream"`
		Messages int           `json:"max_batch_size"`
	}
	Meta *struct {
		Leader   string
		Replicas []struct{ Name string }
	} `json:"meta_cluster"`
	Accounts []struct {
		ID              string
		Memory, Storage int64
		ReservedMemory  float64 `json:"reserved_memory"`
		ReservedStorage float64 `json:"reserved_storage"`
		Streams         []struct {
			Name   string
			Config struct {
				Window time.Duration `json:"duplicate_window"`
			}
			Consumers []struct {
				Name    string
				Pending int64 `json:"num_ack_pending"`
			} `json:"consumer_detail"`
		} `json:"stream_detail"`
	} `json:"account_details"`
}

// reports asks all servers about JetStream. The question is JSON; "" asks for no details.
func (l *link) reports(ctx context.Context, all servers, what, question string) (map[string]report, error) {
	found := map[string]report{}
	err := l.each(ctx, what, all, streamSubject, []byte(question), func(e envelope) error {
		var r report
		if e.Error == nil && json.Unmarshal(e.Data, &r) != nil {
			return errNonsense
		}
		found[e.Server.ID] = r
		return e.refusal()
	})
	return found, err
}

// usageOf asks all servers about an account.
func (l *link) usageOf(ctx context.Context, all servers, account string) (*usage, error) {
	answers, err := l.reports(ctx, all, askStreams, fmt.Sprintf(`{"account": %q, "streams": true}`, account))
	if err != nil {
		return nil, err
	}
	u := &usage{}
	names := map[string]bool{}
	for _, r := range answers {
		u.add(r, account, names)
	}
	if u.enabled == 0 {
		return nil, errors.New("no server has JetStream enabled; enable it in the servers' configuration")
	}
	u.streams = int64(len(names))
	return u, nil
}

const askStreams = "ask for the account's streams"

func (u *usage) add(r report, account string, names map[string]bool) {
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
		u.storage = max(u.storage, services.Size(a.Storage))
		u.memory = max(u.memory, services.Size(a.Memory))
		u.reserved = append(u.reserved, reserved{a.ReservedStorage, a.ReservedMemory})
		for _, s := range a.Streams {
			names[s.Name] = true
		}
	}
}

// away are the servers of JetStream that did not answer.
func (u *usage) away(all servers) []string {
	present := slices.Collect(maps.Values(all))
	return slices.DeleteFunc(slices.Sorted(slices.Values(u.peers)), func(name string) bool {
		return name == "" || slices.Contains(present, name)
	})
}

// holds says whether every server holds the account to the plan. A server whose store is too small
// gives the account no streams, and says so only in its log.
func (u *usage) holds(p Plan) bool {
	want := reserved{float64(p.Storage), float64(p.Memory)}
	return len(u.reserved) >= u.enabled && !slices.ContainsFunc(u.reserved, func(r reserved) bool { return r != want })
}

// activate makes all servers load the account, and checks that they hold it to the plan. A server
// that loads it for an application's first stream may refuse that.
func (a *account) activate(ctx context.Context, p Plan) (*usage, error) {
	// A server loads an account to tell of its connections.
	err := a.b.link.each(ctx, "activate the account", a.servers, fmt.Sprintf(clientSubject, a.public), []byte(`{"limit": 1}`), envelope.refusal)
	if err != nil {
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
