// Package operator has the functions of a platform's operator: to list what the broker has,
// compare it with the backends' servers, and repair it. The command line calls them, and a
// web page can.
//
// The caller authorizes: every method assumes that its caller may do this. A method that
// changes something records the actor in the audit record.
package operator

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/chandler-broker/chandler/broker/catalog"
	"github.com/chandler-broker/chandler/broker/operation"
	"github.com/chandler-broker/chandler/broker/placement"
	"github.com/chandler-broker/chandler/broker/store"
	"github.com/chandler-broker/chandler/credhub"
	"github.com/chandler-broker/chandler/services"
)

// Operator works on a broker's state, beside running brokers or without one. It is
// safe for concurrent use.
type Operator struct {
	Catalog *catalog.Catalog
	Store   *store.Store
	Engine  *operation.Engine
	// Drivers are the open backends by their servers' keys. Drift, RemoveOrphans and
	// Adopt need them; without them instances are listed without resource names.
	Drivers map[string]*services.Driver
	// Placement is for Servers.
	Placement *placement.Placement
	// Credentials and Deliveries are for Forget and ForgetBinding. Deliveries is
	// called only for a binding whose credentials were delivered.
	Credentials credhub.Store
	Deliveries  func(context.Context) (map[string]credhub.Delivery, error)
}

// Actor is an identity as the audit record has it (OSB, "Originating Identity").
type Actor json.RawMessage

// User is an operator with that user name.
func User(name string) Actor {
	text, _ := json.Marshal(map[string]any{"platform": "operator", "value": map[string]string{"user": name}})
	return text
}

// NotFoundError says that the state has no such object.
type NotFoundError struct{ Kind, ID string }

func (e *NotFoundError) Error() string { return fmt.Sprintf("there is no %s %q", e.Kind, e.ID) }

// found is err, or a NotFoundError if a row does not exist.
func found(err error, kind, id string) error {
	if store.NotFound(err) {
		return &NotFoundError{kind, id}
	}
	return err
}

// ArgumentError says that a caller's argument is invalid.
type ArgumentError struct{ Name, Rule string }

func (e *ArgumentError) Error() string { return e.Name + ": " + e.Rule }

// pages fetches batches, each after the key of the last row, until there are no more
// rows or the limit is reached; 0 is no limit.
func pages[K, T any](first K, limit int, fetch func(after K, batch int32) ([]T, error), key func(T) K) ([]T, error) {
	all := []T{}
	for after := first; ; {
		batch := pageSize
		if limit > 0 {
			batch = min(batch, limit-len(all))
		}
		page, err := fetch(after, int32(batch)) //nolint:gosec // pageSize at most
		if err != nil {
			return nil, err
		}
		all = append(all, page...)
		if len(page) < batch || len(all) == limit {
			return all, nil
		}
		after = key(page[len(page)-1])
	}
}

const pageSize = 1000

// convert applies f to each row. The result is never nil, so that JSON has a list.
func convert[From, To any](rows []From, f func(From) To) []To {
	converted := make([]To, 0, len(rows))
	for _, r := range rows {
		converted = append(converted, f(r))
	}
	return converted
}
