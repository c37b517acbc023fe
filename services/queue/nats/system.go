package nats

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/chandler-broker/chandler/services"
)

// The requests of the system account (NATS documentation, "System Events and
// Decentralized JWT Tutorial" and "JetStream wire API Reference").
const (
	pingSubject   = "$SYS.REQ.SERVER.PING"
	lookupSubject = "$SYS.REQ.ACCOUNT.%s.CLAIMS.LOOKUP"
	updateSubject = "$SYS.REQ.CLAIMS.UPDATE"
	deleteSubject = "$SYS.REQ.CLAIMS.DELETE"
	packSubject   = "$SYS.REQ.CLAIMS.PACK"
	streamSubject = "$SYS.REQ.SERVER.PING.JSZ"
	clientSubject = "$SYS.REQ.ACCOUNT.%s.CONNZ"
	activeSubject = "$SYS.REQ.ACCOUNT.%s.INFO"
	purgeSubject  = "$JS.API.ACCOUNT.PURGE.%s"
)

// envelope is around what a server says of itself.
type envelope struct {
	Server struct {
		Name string `json:"name"`
		ID   string `json:"id"`
	} `json:"server"`
	Error *struct {
		Description string `json:"description"`
	} `json:"error"`
	Data   json.RawMessage `json:"data"`
	Statsz struct {
		ActiveServers int `json:"active_servers"`
	} `json:"statsz"`
}

// servers are the servers that answer, names by ID.
type servers map[string]string

// names are the servers' names, for people.
func (s servers) names() string {
	return strings.Join(slices.Sorted(maps.Values(s)), ", ")
}

// present finds out which servers answer. Each knows how many they are; one that died a
// moment ago still counts, so that the last one is not waited for long.
func (l *link) present(ctx context.Context) (servers, error) {
	found := servers{}
	wait := func() time.Duration {
		if len(found) == 0 {
			return patience
		}
		return quiet
	}
	err := l.ask(ctx, pingSubject, nil, wait, func(answer []byte) error {
		var e envelope
		if err := json.Unmarshal(answer, &e); err != nil || e.Server.ID == "" || e.Statsz.ActiveServers == 0 {
			return errNonsense
		}
		found[e.Server.ID] = e.Server.Name
		if len(found) >= e.Statsz.ActiveServers {
			return errEnough
		}
		return nil
	})
	if len(found) > 0 && errors.Is(err, errSilent) {
		err = nil
	}
	return found, doing("ask which servers there are", err)
}

var errNonsense = errors.New("the reply did not come from a NATS server")

func patient() time.Duration { return patience }

// doing adds what the broker was doing to an error.
func doing(what string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s: %w", what, err)
}

// reports sends all servers a question about JetStream and returns what each reports
// (NATS documentation, "Monitoring", jsz).
func reports[T any](ctx context.Context, l *link, all servers, what string, question map[string]any) (map[string]T, error) {
	request, err := json.Marshal(question)
	if err != nil {
		return nil, err
	}
	answers, err := l.all(ctx, all, streamSubject, request)
	if err != nil {
		return nil, doing(what, err)
	}
	decoded := map[string]T{}
	for id, data := range answers {
		var report T
		if json.Unmarshal(data, &report) != nil {
			return nil, doing(what, errNonsense)
		}
		decoded[id] = report
	}
	return decoded, nil
}

// all sends a request that each server answers and returns the answers' data by server.
// It is an error if one refuses or does not answer.
func (l *link) all(ctx context.Context, all servers, subject string, request []byte) (map[string]json.RawMessage, error) {
	data := map[string]json.RawMessage{}
	missing := maps.Clone(all)
	err := l.ask(ctx, subject, request, patient, func(answer []byte) error {
		var e envelope
		if err := json.Unmarshal(answer, &e); err != nil || e.Server.ID == "" {
			return errNonsense
		}
		if e.Error != nil {
			return serverError(e.Server.Name, e.Error.Description)
		}
		data[e.Server.ID] = e.Data
		if delete(missing, e.Server.ID); len(missing) == 0 {
			return errEnough
		}
		return nil
	})
	if errors.Is(err, errSilent) && len(missing) > 0 {
		err = fmt.Errorf("%s: %w", missing.names(), err)
	}
	return data, err
}

// serverError is the error of a server that refuses.
func serverError(server, description string) error {
	err := fmt.Errorf("server %s: %s", server, description)
	if strings.Contains(description, syscall.ENOSPC.Error()) {
		return services.OutOfCapacity(fmt.Errorf("the disk of the server's accounts is full; make room on it: %w", err))
	}
	return err
}

// lookup returns an account's JWT as each server stores it; "" if it has none.
func (l *link) lookup(ctx context.Context, all servers, account string) ([]string, error) {
	var tokens []string
	err := l.ask(ctx, fmt.Sprintf(lookupSubject, account), nil, patient, func(answer []byte) error {
		if tokens = append(tokens, string(answer)); len(tokens) == len(all) {
			return errEnough
		}
		return nil
	})
	return tokens, doing("look the account up", err)
}

// inSync says whether all servers apply an account's JWT: a server stores it first, and
// disconnects clients that it no longer admits before it reports it.
func (l *link) inSync(ctx context.Context, all servers, account, token string) (bool, error) {
	applied, err := l.applied(ctx, all, account)
	return !slices.ContainsFunc(applied, func(other string) bool { return other != token }), err
}

// applied returns the JWTs of an account that the servers apply, whatever is on their
// disks. A server that has not needed the account yet has none, and will read the one
// that it stores.
func (l *link) applied(ctx context.Context, all servers, account string) ([]string, error) {
	var tokens []string
	answers := 0
	err := l.ask(ctx, fmt.Sprintf(activeSubject, account), nil, patient, func(answer []byte) error {
		var e envelope
		var info struct {
			JWT string `json:"jwt"`
		}
		if err := json.Unmarshal(answer, &e); err != nil || e.Server.ID == "" {
			return errNonsense
		}
		if e.Error == nil {
			if json.Unmarshal(e.Data, &info) != nil {
				return errNonsense
			}
			tokens = append(tokens, info.JWT)
		}
		if answers++; answers >= len(all) {
			return errEnough
		}
		return nil
	})
	return tokens, doing("ask what the servers know of the account", err)
}

// push gives an account's JWT to all servers, which apply it before they answer: clients
// that they no longer admit are disconnected.
func (l *link) push(ctx context.Context, all servers, token string) error {
	_, err := l.all(ctx, all, updateSubject, []byte(token))
	return doing("send the account to the servers", err)
}

// activate makes all servers load an account that they may not have needed yet, as
// asking for its connections does.
func (l *link) activate(ctx context.Context, all servers, account string) error {
	_, err := l.all(ctx, all, fmt.Sprintf(clientSubject, account), []byte(`{"limit": 1}`))
	return doing("activate the account", err)
}

// purge deletes an account's streams. A cluster deletes them a moment later.
func (l *link) purge(ctx context.Context, account string) error {
	var result struct {
		Error     *struct{ Description string } `json:"error"`
		Initiated bool                          `json:"initiated"`
	}
	err := l.ask(ctx, fmt.Sprintf(purgeSubject, account), nil, patient, func(answer []byte) error {
		if json.Unmarshal(answer, &result) != nil {
			return errNonsense
		}
		return errEnough
	})
	switch {
	case errors.Is(err, errSilent):
		err = fmt.Errorf("%w; has the cluster a leader?", err)
	case err == nil && result.Error != nil:
		err = errors.New(result.Error.Description)
	case err == nil && !result.Initiated:
		err = errNonsense
	}
	return doing("delete the account's streams", err)
}

// forEach hands every account's JWT to take, as one of the servers stores them.
func (l *link) forEach(ctx context.Context, take func(token string)) error {
	err := l.ask(ctx, packSubject, nil, patient, func(answer []byte) error {
		if len(answer) == 0 {
			return errEnough
		}
		for line := range strings.SplitSeq(string(answer), "\n") {
			_, token, ok := strings.Cut(line, "|")
			if !ok {
				return errNonsense
			}
			take(token)
		}
		return nil
	})
	return doing("list the accounts", err)
}
