package nats

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
)

// usage is what JetStream has of one account, on all servers together.
type usage struct {
	storage, memory Size
	streams         int64
	// reserved are the limits that the servers hold the account to, of those
	// that know it.
	reserved []reserved
	// alone says that there is one server, which takes no account that its
	// store has no room for.
	alone bool
	// peers are the servers that keep JetStream's state, by name, whether
	// they are there or not.
	peers []string
}

type reserved struct{ storage, memory Size }

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
		ID              string `json:"id"`
		MemoryBytes     int64  `json:"memory"`
		StorageBytes    int64  `json:"storage"`
		ReservedMemory  uint64 `json:"reserved_memory"`
		ReservedStorage uint64 `json:"reserved_storage"`
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
	names, enabled := map[string]bool{}, false
	for _, data := range answers {
		var r streamReport
		if err := json.Unmarshal(data, &r); err != nil {
			return nil, fmt.Errorf("ask for the account's streams: %w", errNonsense)
		}
		enabled = enabled || !r.Disabled
		u.add(r, account, names)
	}
	if !enabled {
		return nil, errDisabled
	}
	u.streams = int64(len(names))
	return u, nil
}

func (u *usage) add(r streamReport, account string, names map[string]bool) {
	if r.Meta == nil {
		u.alone = u.alone || !r.Disabled
	} else if u.peers == nil {
		u.peers = append(u.peers, r.Meta.Leader)
		for _, p := range r.Meta.Replicas {
			u.peers = append(u.peers, p.Name)
		}
	}
	for _, a := range r.Accounts {
		if a.ID != account {
			continue
		}
		u.storage += Size(a.StorageBytes)
		u.memory += Size(a.MemoryBytes)
		u.reserved = append(u.reserved, reserved{Size(a.ReservedStorage), Size(a.ReservedMemory)})
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

// holds says whether the servers hold the account to the plan. A server by
// itself reserves what the plan promises and, where its store is too small for
// that, logs it and leaves the account without streams: nobody else is told.
func (u *usage) holds(p Plan) bool {
	for _, r := range u.reserved {
		if r.storage != p.Storage || r.memory != p.Memory {
			return false
		}
	}
	return true
}
