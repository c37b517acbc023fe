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

	"github.com/chandler-broker/chandler/services"
)

// The requests of the system account (NATS documentation, "System Events and Decentralized JWT
// Tutorial" and "JetStream wire API Reference").
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
	Server struct{ Name, ID string }
	Error  *struct{ Description string }
	Data   json.RawMessage
	Statsz struct {
		ActiveServers int `json:"active_servers"`
	}
}

// refusal is the error of a server that refuses a request.
func (e envelope) refusal() error {
	if e.Error == nil {
		return nil
	}
	err := fmt.Errorf("server %s: %s", e.Server.Name, e.Error.Description)
	if strings.Contains(e.Error.Description, syscall.ENOSPC.Error()) {
		return services.OutOfCapacity(fmt.Errorf("the disk of the server's accounts is full; make room on it: %w", err))
	}
	return err
}

// servers are the servers that answer, names by ID.
type servers map[string]string

// names are the servers' names, for people.
func (s servers) names() string {
	return strings.Join(slices.Sorted(maps.Values(s)), ", ")
}

// present finds out which servers answer. Each counts the others, also one that has just died, so
// that the last one is not awaited for long.
func (l *link) present(ctx context.Context) (servers, error) {
	found := servers{}
	err := l.ask(ctx, pingSubject, nil, quiet, func(answer []byte) error {
		var e envelope
		if json.Unmarshal(answer, &e) != nil || e.Server.ID == "" || e.Statsz.ActiveServers == 0 {
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

// doing adds what the broker was doing to an error.
func doing(what string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s: %w", what, err)
}

// each sends a request that each server must answer, and hands the answers to take.
func (l *link) each(ctx context.Context, what string, all servers, subject string, request []byte, take func(envelope) error) error {
	missing := maps.Clone(all)
	err := l.ask(ctx, subject, request, patience, func(answer []byte) error {
		var e envelope
		if json.Unmarshal(answer, &e) != nil || e.Server.ID == "" {
			return errNonsense
		}
		if err := take(e); err != nil {
			return err
		}
		if delete(missing, e.Server.ID); len(missing) == 0 {
			return errEnough
		}
		return nil
	})
	if errors.Is(err, errSilent) && len(missing) > 0 {
		err = fmt.Errorf("%s: %w", missing.names(), err)
	}
	return doing(what, err)
}

// lookup returns an account's JWT as each server stores it; "" if it has none.
func (l *link) lookup(ctx context.Context, all servers, account string) ([]string, error) {
	var tokens []string
	err := l.ask(ctx, fmt.Sprintf(lookupSubject, account), nil, patience, func(answer []byte) error {
		if tokens = append(tokens, string(answer)); len(tokens) == len(all) {
			return errEnough
		}
		return nil
	})
	return tokens, doing("look the account up", err)
}

// inSync says whether all servers apply an account's JWT, not only store it.
func (l *link) inSync(ctx context.Context, all servers, account, token string) (bool, error) {
	applied, err := l.applied(ctx, all, account)
	return !slices.ContainsFunc(applied, func(other string) bool { return other != token }), err
}

// applied returns the JWTs of an account that the servers apply, whatever they store. A server that
// has not needed the account yet applies none.
func (l *link) applied(ctx context.Context, all servers, account string) ([]string, error) {
	var tokens []string
	err := l.each(ctx, "ask what the servers know of the account", all, fmt.Sprintf(activeSubject, account), nil, func(e envelope) error {
		var info struct{ JWT string }
		if e.Error != nil {
			return nil
		}
		if json.Unmarshal(e.Data, &info) != nil {
			return errNonsense
		}
		tokens = append(tokens, info.JWT)
		return nil
	})
	return tokens, err
}

// push gives an account's JWT to all servers, which first disconnect excluded clients.
func (l *link) push(ctx context.Context, all servers, token string) error {
	return l.each(ctx, "send the account to the servers", all, updateSubject, []byte(token), envelope.refusal)
}

// purge deletes an account's streams. A cluster deletes them a moment later.
func (l *link) purge(ctx context.Context, account string) error {
	var result struct {
		Error     *struct{ Description string }
		Initiated bool
	}
	err := l.ask(ctx, fmt.Sprintf(purgeSubject, account), nil, patience, func(answer []byte) error {
		if json.Unmarshal(answer, &result) != nil {
			return errNonsense
		}
		return errEnough
	})
	switch {
	case errors.Is(err, errSilent):
		err = fmt.Errorf("%w; check that the cluster has a leader", err)
	case err == nil && result.Error != nil:
		err = errors.New(result.Error.Description)
	case err == nil && !result.Initiated:
		err = errNonsense
	}
	return doing("delete the account's streams", err)
}

// forEach hands every account's JWT to take, as one of the servers stores them.
func (l *link) forEach(ctx context.Context, take func(token string)) error {
	err := l.ask(ctx, packSubject, nil, patience, func(answer []byte) error {
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
