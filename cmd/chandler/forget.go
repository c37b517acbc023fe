package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os/user"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/spf13/cobra"

	"github.com/chandler-broker/chandler/broker/operation"
	"github.com/chandler-broker/chandler/broker/store"
	"github.com/chandler-broker/chandler/credhub"
)

func newForget() *cobra.Command {
	cmd := forgetVerb("forget ID", "Remove an instance and its credentials from the broker, without touching the backend",
		func(ctx context.Context, a *app, id string) error { return a.forget(ctx, forgotten{instanceID: id}) })
	cmd.Long = `Forget removes an instance whose resource is gone for good, with its bindings and their
credentials. Whatever the backend still holds of it becomes an orphan. If only a login is
gone and the instance exists, forget the binding instead: 'chandler bindings forget'.`
	return cmd
}

func newForgetBinding() *cobra.Command {
	cmd := forgetVerb("forget ID", "Remove a binding and its credentials from the broker, without touching the backend",
		func(ctx context.Context, a *app, id string) error {
			b, err := a.binding(ctx, id)
			if err != nil {
				return err
			}
			return a.forget(ctx, forgotten{instanceID: b.InstanceID, bindingID: id})
		})
	cmd.Long = `Forget removes a binding whose login is gone from the backend, for example because it was
unbound after the backup from which the state was restored. Its instance and the
instance's other bindings stay. If the login still exists, it becomes an orphan.`
	return cmd
}

func forgetVerb(use, short string, do func(ctx context.Context, a *app, id string) error) *cobra.Command {
	var flags operatorFlags
	var force bool
	cmd := flags.verb(use, short, cobra.ExactArgs(1), openOptions{stateOnly: true, credentials: true},
		func(ctx context.Context, a *app, w io.Writer, args []string) error {
			if !force {
				return usagef("--force is missing: whatever the backend still holds of it would become an orphan; add --force if you want that")
			}
			if err := do(ctx, a, args[0]); err != nil {
				return err
			}
			fmt.Fprintf(w, "forgotten: %s; 'chandler orphans' shows what the backend still holds\n", args[0])
			return nil
		})
	cmd.Flags().BoolVar(&force, "force", false, "confirm; this cannot be undone")
	return cmd
}

// forgotten is what to forget: an instance with its bindings or, if bindingID is set,
// only that binding.
type forgotten struct{ instanceID, bindingID string }

func (f forgotten) String() string {
	if f.bindingID != "" {
		return fmt.Sprintf("binding %q", f.bindingID)
	}
	return fmt.Sprintf("instance %q", f.instanceID)
}

// forget halts what is in progress on it, waits until no replica works on it, and
// then removes its secrets and its rows, with a note in the audit record.
func (a *app) forget(ctx context.Context, f forgotten) error {
	if err := a.halt(ctx, f); err != nil {
		return err
	}
	// A step that is under way notices within seconds, or ends by its own limit.
	limited, cancel := context.WithTimeout(ctx, 40*time.Second)
	defer cancel()
	for {
		done, err := a.forgetIdle(limited, f)
		if err != nil || done {
			return err
		}
		select {
		case <-limited.Done():
			return fmt.Errorf("a replica is still working on %s; repeat the command", f)
		case <-time.After(200 * time.Millisecond):
		}
	}
}

func (a *app) halt(ctx context.Context, f forgotten) error {
	return a.store.InTx(ctx, func(tx pgx.Tx) error {
		if _, err := a.store.InstanceForUpdate(ctx, tx, f.instanceID); store.NotFound(err) {
			return fmt.Errorf("there is no instance %q", f.instanceID)
		} else if err != nil {
			return err
		}
		unfinished, err := a.store.UnfinishedOperations(ctx, tx, f.instanceID)
		if err != nil {
			return err
		}
		for _, op := range unfinished {
			switch {
			case f.bindingID == "" || op.BindingID == f.bindingID:
				if err := a.engine.Supersede(ctx, tx, op); err != nil {
					return err
				}
			case op.BindingID == "":
				return fmt.Errorf("operation %s (%s) is in progress on the binding's instance; repeat the command when it has ended", op.ID, op.Kind)
			}
		}
		return nil
	})
}

// forgetIdle removes it if no replica works on it.
func (a *app) forgetIdle(ctx context.Context, f forgotten) (done bool, err error) {
	err = a.store.InTx(ctx, func(tx pgx.Tx) error {
		if done, err = a.lock(ctx, tx, f); err != nil || !done {
			return err
		}
		i, err := a.store.InstanceForUpdate(ctx, tx, f.instanceID)
		if err != nil {
			return err
		}
		bindings, err := a.store.BindingsOfInstance(ctx, tx, f.instanceID)
		if err != nil {
			return err
		}
		if err := a.forgetSecrets(ctx, tx, f, bindings); err != nil {
			return err
		}
		return a.forgetRows(ctx, tx, f, i)
	})
	return done, err
}

func (a *app) lock(ctx context.Context, tx pgx.Tx, f forgotten) (bool, error) {
	if f.bindingID == "" {
		return a.store.LockInstance(ctx, tx, f.instanceID)
	}
	locked, err := a.store.LockBinding(ctx, tx, store.LockBindingParams{InstanceID: f.instanceID, BindingID: f.bindingID})
	return locked != nil && *locked, err
}

func (a *app) forgetSecrets(ctx context.Context, tx pgx.Tx, f forgotten, bindings []store.Binding) error {
	return store.Outside(ctx, tx, func(ctx context.Context) error {
		for _, b := range bindings {
			if f.bindingID != "" && f.bindingID != b.ID {
				continue
			}
			if err := a.forgetBinding(ctx, b); err != nil {
				return err
			}
		}
		return nil
	})
}

func (a *app) forgetBinding(ctx context.Context, b store.Binding) error {
	if b.Delivery != credhub.Inline {
		if err := a.withdraw(ctx, b); err != nil {
			return fmt.Errorf("withdraw the credentials of binding %s: %w", b.ID, err)
		}
	}
	for _, path := range []credhub.Path{
		credhub.CredentialsPath(b.InstanceID, b.ID), credhub.VolumeMountsPath(b.InstanceID, b.ID), credhub.SeedPath(b.InstanceID, b.ID),
	} {
		if err := a.credentials.Delete(ctx, path); err != nil {
			return fmt.Errorf("delete the credentials of binding %s: %w", b.ID, err)
		}
	}
	return nil
}

// withdraw revokes the delivery of credentials. Its location is in the catalog, so the
// catalog's variables have to be set.
func (a *app) withdraw(ctx context.Context, b store.Binding) (err error) {
	if a.deliveries == nil {
		if a.catalog, err = loadCatalog(a.settings); err != nil {
			return err
		}
		if err := a.openDeliveries(ctx, a.credentials); err != nil {
			return err
		}
	}
	return a.deliveries[b.Delivery].Withdraw(ctx, operation.Reader(b))
}

func (a *app) forgetRows(ctx context.Context, tx pgx.Tx, f forgotten, i store.Instance) error {
	if f.bindingID != "" {
		if err := a.store.DeleteBinding(ctx, tx, f.bindingID); err != nil {
			return err
		}
	} else if err := a.store.DeleteBindingsOfInstance(ctx, tx, i.ID); err != nil {
		return err
	} else if err := a.store.DeleteInstance(ctx, tx, i.ID); err != nil {
		return err
	}
	return a.store.InsertAudit(ctx, tx, store.InsertAuditParams{
		Platform: i.Platform, Originating: operatorIdentity(), Action: "forget", Event: store.Succeeded,
		InstanceID: i.ID, BindingID: f.bindingID, ServiceID: i.ServiceID, PlanID: i.PlanID, Outcome: "forgotten",
	})
}

// operatorIdentity is the identity that the audit record has for an operator's change.
func operatorIdentity() json.RawMessage {
	name := "unknown"
	if u, err := user.Current(); err == nil {
		name = u.Username
	}
	text, _ := json.Marshal(map[string]any{"platform": "operator", "value": map[string]string{"user": name}})
	return text
}
