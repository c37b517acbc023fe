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

// servers are the servers that are there, names by ID.
type servers map[string]string

// names are the servers' names, for people.
func (s servers) names() string {
	return strings.Join(slices.Sorted(maps.Values(s)), ", ")
}

// present asks who is there. Every server knows how many they are; one that
// died a moment ago is still counted, so the last one is not waited for long.
func (l *link) present(ctx context.Context) (servers, error) {
	there := servers{}
	wait := func() time.Duration {
		if len(there) == 0 {
			return patience
		}
		return quiet
	}
	err := l.ask(ctx, pingSubject, nil, wait, func(answer []byte) error {
		var e envelope
		if err := json.Unmarshal(answer, &e); err != nil || e.Server.ID == "" || e.Statsz.ActiveServers == 0 {
			return errNonsense
		}
		there[e.Server.ID] = e.Server.Name
		if len(there) >= e.Statsz.ActiveServers {
			return errEnough
		}
		return nil
	})
	if len(there) > 0 && errors.Is(err, errSilent) {
		return there, nil
	}
	if err != nil {
		return nil, fmt.Errorf("ask which servers there are: %w", err)
	}
	return there, nil
}

var errNonsense = errors.New("the answer is none of a NATS server")

func patient() time.Duration { return patience }

// all sends a request that each server answers and returns the answers' data by
// server. It is an error when one refuses or does not answer.
func (l *link) all(ctx context.Context, there servers, subject string, request []byte) (map[string]json.RawMessage, error) {
	data := map[string]json.RawMessage{}
	missing := maps.Clone(there)
	err := l.ask(ctx, subject, request, patient, func(answer []byte) error {
		var e envelope
		if err := json.Unmarshal(answer, &e); err != nil || e.Server.ID == "" {
			return errNonsense
		}
		if e.Error != nil {
			return said(e.Server.Name, e.Error.Description)
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

// said is the error of a server that refuses.
func said(server, description string) error {
	err := fmt.Errorf("server %s says: %s", server, description)
	if strings.Contains(description, syscall.ENOSPC.Error()) {
		return services.OutOfCapacity(fmt.Errorf("the disk of the server's accounts is full; make room on it: %w", err))
	}
	return err
}

// lookup returns an account's JWT as each server has it; "": it has none.
func (l *link) lookup(ctx context.Context, there servers, account string) ([]string, error) {
	var tokens []string
	err := l.ask(ctx, fmt.Sprintf(lookupSubject, account), nil, patient, func(answer []byte) error {
		if tokens = append(tokens, string(answer)); len(tokens) == len(there) {
			return errEnough
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("look the account up: %w", err)
	}
	return tokens, nil
}

// acts says whether all servers act on an account's JWT: one keeps it first, and
// cuts off whom it no longer lets in before it calls it its own.
func (l *link) acts(ctx context.Context, there servers, account, token string) (bool, error) {
	used, err := l.inUse(ctx, there, account)
	return !slices.ContainsFunc(used, func(other string) bool { return other != token }), err
}

// inUse returns the JWTs of an account that the servers act on, whatever is on
// their disks. A server that has had no use for the account yet has none, and
// will read what it keeps.
func (l *link) inUse(ctx context.Context, there servers, account string) ([]string, error) {
	var used []string
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
			used = append(used, info.JWT)
		}
		if answers++; answers >= len(there) {
			return errEnough
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("ask what the servers know of the account: %w", err)
	}
	return used, nil
}

// push gives an account's JWT to all servers, which act on it before they
// answer: whoever it no longer lets in is cut off.
func (l *link) push(ctx context.Context, there servers, token string) error {
	if _, err := l.all(ctx, there, updateSubject, []byte(token)); err != nil {
		return fmt.Errorf("tell the servers of the account: %w", err)
	}
	return nil
}

// use makes all servers read an account that they may not have needed yet, as
// asking for its connections does.
func (l *link) use(ctx context.Context, there servers, account string) error {
	if _, err := l.all(ctx, there, fmt.Sprintf(clientSubject, account), []byte(`{"limit": 1}`)); err != nil {
		return fmt.Errorf("take the account into use: %w", err)
	}
	return nil
}

// purge deletes an account's streams. In a cluster they go a moment later.
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
		return fmt.Errorf("delete the account's streams: %w; has the cluster a leader?", err)
	case err != nil:
		return fmt.Errorf("delete the account's streams: %w", err)
	case result.Error != nil:
		return fmt.Errorf("delete the account's streams: %s", result.Error.Description)
	case !result.Initiated:
		return fmt.Errorf("delete the account's streams: %w", errNonsense)
	}
	return nil
}

// each hands every account's JWT to take, as one of the servers has them.
func (l *link) each(ctx context.Context, take func(token string)) error {
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
	if err != nil {
		return fmt.Errorf("list the accounts: %w", err)
	}
	return nil
}
