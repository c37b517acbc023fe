package operation

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/chandler-broker/chandler/broker/catalog"
	"github.com/chandler-broker/chandler/broker/store"
	"github.com/chandler-broker/chandler/credhub"
	"github.com/chandler-broker/chandler/services"
)

const (
	// verifyTime is how long the credentials of one binding may take to verify.
	verifyTime = 5 * time.Second
	// verifyEvery is how often all bindings are verified, if there are few.
	verifyEvery = 10 * time.Minute
	// Ten bindings of each server are verified a second, and as many seeds are read.
	verifySize, verifyPause = 50, 5 * time.Second
)

// Verify repairs the credentials of a ready binding if their holder broke them. It does
// nothing while an operation works on the binding.
func (e *Engine) Verify(ctx context.Context, i store.Instance, b store.Binding) error {
	plan, err := e.plan(i.ServiceID, i.PlanID)
	if err != nil {
		return err
	}
	d, err := e.driverOf(i, plan)
	if err != nil || d.Verify == nil {
		return err
	}
	return e.Store.InTx(ctx, func(tx *store.Tx) error {
		locked, err := e.lock(ctx, tx, job{InstanceID: i.ID, BindingID: b.ID, Exclusive: d.SerialBinds})
		if err != nil || !locked {
			return err
		}
		// An unbind may have ended since the binding was read.
		now, err := e.Store.Binding(ctx, tx, b.ID)
		if store.NotFound(err) || err == nil && (now.Status != store.Ready || now.IsExpired(time.Now()) || !now.CreatedAt.Equal(b.CreatedAt)) {
			return nil
		} else if err != nil {
			return err
		}
		return store.HoldLocks(ctx, tx, func(ctx context.Context) error { return e.verify(ctx, d, RawInstance(i, plan), now) })
	})
}

func (e *Engine) verify(ctx context.Context, d *services.Driver, inst services.RawInstance, b store.Binding) (err error) {
	stored, err := e.Credentials.Get(ctx, credhub.SeedPath(b.InstanceID, b.ID))
	if errors.Is(err, credhub.ErrNotFound) {
		return errors.New("the credential store does not have the binding's seed")
	} else if err != nil {
		return fmt.Errorf("read the seed: %w", err)
	}
	source, err := seedOf(stored)
	if err != nil {
		return err
	}
	defer func() { err = scrub(source, err) }()
	_, err = d.Verify(ctx, services.RawVerify{Instance: inst, Binding: services.RawBinding{ID: b.ID, Params: b.Parameters, Seed: source}})
	return err
}

// seedOf decodes the value of a binding's SeedPath in the credential store.
func seedOf(stored json.RawMessage) (*services.Seed, error) {
	var sd seed
	if err := json.Unmarshal(stored, &sd); err != nil {
		return nil, errors.New("the stored seed is not in the expected format")
	}
	return services.NewSeed(sd.Seed)
}

// newVerifyRounds makes a round for each server whose backend is a Verifier.
func (e *Engine) newVerifyRounds() []*round {
	var rounds []*round
	for _, s := range e.Catalog.Servers() {
		if d, ok := e.Drivers[s.Key()]; !ok || d.Verify == nil {
			continue
		}
		rounds = append(rounds, &round{
			name: "verify/" + s.Key(), interval: e.VerifyEvery, pause: min(verifyPause, e.VerifyEvery),
			batch: func(ctx context.Context, tx *store.Tx, after string) (string, error, error) {
				return e.verifyBatch(ctx, tx, s, after)
			},
		})
	}
	return rounds
}

// verifyBatch continues after a binding that cannot be verified. If the server does not
// answer, the batch ends at its time limit, and the next one continues there.
func (e *Engine) verifyBatch(ctx context.Context, tx *store.Tx, s catalog.Server, after string) (last string, failed, err error) {
	var ids []string
	for _, p := range e.Catalog.PlansOf(s.Backend) {
		ids = append(ids, p.ID)
	}
	rows, err := e.Store.ReadyBindings(ctx, tx, store.ReadyBindingsParams{PlanIds: ids, Backend: s.Backend, Server: s.Name, After: after, Batch: verifySize})
	if err != nil {
		return "", nil, err
	}
	limited, cancel := context.WithTimeout(ctx, stepTime)
	defer cancel()
	verified := 0
	err = store.HoldLocks(limited, tx, func(ctx context.Context) error {
		for ; verified < len(rows) && ctx.Err() == nil; verified++ {
			e.verifyOne(ctx, rows[verified].Instance, rows[verified].Binding)
		}
		return nil
	})
	if verified < len(rows) {
		failed = fmt.Errorf("%d of %d bindings took all the time of a batch", verified, len(rows))
	}
	if verified > 0 && (verified < len(rows) || len(rows) == verifySize) {
		last = rows[verified-1].Binding.ID
	}
	return last, failed, err
}

func (e *Engine) verifyOne(ctx context.Context, i store.Instance, b store.Binding) {
	limited, cancel := context.WithTimeout(ctx, verifyTime)
	defer cancel()
	if err := e.Verify(limited, i, b); err != nil && ctx.Err() == nil {
		e.Logger.WarnContext(ctx, "credentials could not be verified", "instance_id", i.ID, "binding_id", b.ID, "error", err.Error())
	}
}
