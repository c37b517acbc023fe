package operation

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"time"

	"github.com/chandler-broker/chandler/broker/store"
	"github.com/chandler-broker/chandler/credhub"
	"github.com/chandler-broker/chandler/services"
)

// This file is about recoveries: an instance whose server has lost it is made anew under its own
// name, filled from a backup, and its bindings are bound again with their own seeds. The rows of
// the instance and of its bindings stay as they are throughout.

// Recovered is how far a recovery is: the Parameters of its operation.
type Recovered struct {
	// BackupID is the backup that is restored; empty: the instance comes back without data.
	BackupID string `json:"backup_id,omitempty"`
	// From is the server's key on which the instance was.
	From string `json:"from"`
	// Removed says that nothing of the instance is left on its server, and Made that it has been
	// made, both of an instance without data.
	Removed bool `json:"removed,omitempty"`
	Made    bool `json:"made,omitempty"`
	// After is the last binding that was bound again, and Bound how many were.
	After string `json:"after,omitempty"`
	Bound int    `json:"bound,omitempty"`
	// Changed are the bindings whose credentials are other ones now, for example because
	// the new server has another address.
	Changed []string `json:"changed,omitempty"`
	// Refused says by the bindings' IDs why the backend does not bind them.
	Refused map[string]string `json:"refused,omitempty"`
}

// RecoveredBy returns how far a recovery's operation is.
func RecoveredBy(op store.Operation) (r Recovered, err error) {
	if err := json.Unmarshal(op.Parameters, &r); err != nil {
		return r, fmt.Errorf("decode how far operation %s is: %w", op.ID, err)
	}
	return r, nil
}

// recover does one step of a recovery.
func (e *Engine) recover(ctx context.Context, op store.Operation, s *subject, inst services.RawInstance) result {
	r, err := RecoveredBy(op)
	if err != nil {
		return result{err: err}
	}
	if op.CopyID != "" {
		err = e.provisionCopy(ctx, op, s, inst)
	} else if !r.Made {
		err = e.makeEmpty(ctx, op, s, inst, &r)
	}
	if err != nil {
		return result{err: err}
	}
	r.Made = true
	more, err := e.bindAgain(ctx, s, inst, &r)
	if saved := e.saveRecovered(ctx, op, r); saved != nil || err != nil {
		return result{err: errors.Join(err, saved)}
	}
	if more {
		return result{err: services.NotYet(0, fmt.Sprintf("binds the applications again: %d so far", r.Bound+len(r.Refused)))}
	}
	return result{description: r.describe()}
}

// makeEmpty makes an instance without data. Each step goes on where the last one ended.
func (e *Engine) makeEmpty(ctx context.Context, op store.Operation, s *subject, inst services.RawInstance, r *Recovered) error {
	if !r.Removed {
		if err := e.awaitNoCopy(ctx, SafeName(s.instance)); err != nil {
			return err
		}
		if err := e.deprovision(ctx, s.driver, inst); err != nil {
			return err
		}
		r.Removed = true
		if err := e.saveRecovered(ctx, op, *r); err != nil {
			return err
		}
	}
	return e.provision(ctx, s, inst)
}

// undoRecovery leaves nothing of the instance on its server: it is as lost as before, and can be
// recovered again.
func (e *Engine) undoRecovery(ctx context.Context, op store.Operation, s *subject, inst services.RawInstance) error {
	if op.CopyID != "" { // also on a plan that has no backups any more
		if err := e.cancelCopy(ctx, op.CopyID); err != nil {
			return err
		}
	}
	if err := e.awaitNoCopy(ctx, SafeName(s.instance)); err != nil {
		return err
	}
	return e.deprovision(ctx, s.driver, inst)
}

func (r Recovered) describe() string {
	text := fmt.Sprintf("recovered, with %d bindings", r.Bound)
	if len(r.Changed) > 0 {
		text += fmt.Sprintf(", %d of which have new credentials", len(r.Changed))
	}
	if len(r.Refused) > 0 {
		text += fmt.Sprintf("; %d bindings could not be bound again", len(r.Refused))
	}
	return text
}

func (e *Engine) saveRecovered(ctx context.Context, op store.Operation, r Recovered) error {
	text, err := json.Marshal(r)
	if err != nil {
		return err
	}
	// Not in the attempt's transaction: that is rolled back after a crash, and bindings that
	// were bound need not be bound again.
	return e.Store.SetOperationParameters(ctx, e.Store.Pool, store.SetOperationParametersParams{ID: op.ID, Parameters: text})
}

// rebindTime is how long one step binds again, so that it ends in time.
const rebindTime = stepTime / 2

// bindAgain binds the bindings that follow, until its time is over. It stops at the first one that
// fails, unless the backend rejects it for good.
func (e *Engine) bindAgain(ctx context.Context, s *subject, inst services.RawInstance, r *Recovered) (more bool, err error) {
	began := time.Now()
	for _, b := range s.bindings {
		if b.ID <= r.After || b.Status != store.Ready || b.IsExpired(began) {
			continue
		}
		if time.Since(began) > rebindTime {
			return true, nil
		}
		changed, err := e.rebind(ctx, s, inst, b)
		message, rejected := services.IsRejected(err)
		switch {
		case rejected && r.Refused == nil:
			r.Refused = map[string]string{b.ID: message}
		case rejected:
			r.Refused[b.ID] = message
		case err != nil:
			return false, fmt.Errorf("binding %s: %w", b.ID, err)
		default:
			r.Bound++
		}
		if changed {
			r.Changed = append(r.Changed, b.ID)
		}
		r.After = b.ID
	}
	return false, nil
}

// rebind binds with the seed in the credential store, so that the credentials stay, and reports
// whether they have changed all the same.
func (e *Engine) rebind(ctx context.Context, s *subject, inst services.RawInstance, b store.Binding) (changed bool, err error) {
	before, err := e.Credentials.Get(ctx, credhub.CredentialsPath(b.InstanceID, b.ID))
	if err != nil && !errors.Is(err, credhub.ErrNotFound) {
		return false, fmt.Errorf("read the credentials: %w", err)
	}
	bound, err := e.bind(ctx, s.driver, inst, b)
	if err != nil {
		return false, err
	}
	after, err := json.Marshal(bound.Values)
	if err != nil {
		return false, err
	}
	err = e.Store.SetBindingReady(ctx, e.Store.Pool, store.SetBindingReadyParams{ID: b.ID, Endpoints: endpointsJSON(bound.Endpoints)})
	if err != nil {
		return false, fmt.Errorf("record the endpoints: %w", err)
	}
	return !sameSecrets(before, after), nil
}

func sameSecrets(a, b json.RawMessage) bool {
	decode := func(text json.RawMessage) (value any, err error) {
		d := json.NewDecoder(bytes.NewReader(text))
		d.UseNumber()
		err = d.Decode(&value)
		return value, err
	}
	x, errX := decode(a)
	y, errY := decode(b)
	return errX == nil && errY == nil && reflect.DeepEqual(x, y)
}
