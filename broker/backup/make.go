package backup

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"filippo.io/age"

	"github.com/chandler-broker/chandler/broker/operation"
	"github.com/chandler-broker/chandler/broker/store"
	"github.com/chandler-broker/chandler/services"
)

// name is the backup's name in the store.
func (w *work) name() string { return Name(w.Backup.ResourceName, w.Backup.ID) }

// backUp makes the backup: the key, the object, the manifest, unless the server holds it. The state
// follows.
func (w *work) backUp(ctx context.Context) error {
	instance, err := w.instance(ctx)
	if err != nil {
		return err
	}
	if w.driver.CreateBackup != nil {
		return w.createHeld(ctx, instance)
	}
	if w.driver.Backup == nil {
		return services.Rejected("instances of plan %q cannot be backed up", w.plan.Name)
	}
	if w.Copy.Attempts > 1 { // an interrupted attempt may have stored something
		if err := w.runner.Archive.Delete(ctx, w.name()); err != nil {
			return err
		}
	}
	key, err := EnsureKey(ctx, w.runner.Credentials, w.Backup.ResourceName)
	if err != nil {
		return err
	}
	recipients := append([]*age.X25519Recipient{key.Recipient()}, w.runner.Recipients...)
	to := make([]age.Recipient, len(recipients))
	for i, r := range recipients {
		to[i] = r
	}
	base, err := w.chooseBase(ctx, instance)
	if err != nil {
		return err
	}
	err = w.write(ctx, operation.RawInstance(instance, w.plan), to, key, base)
	if base != nil && unusable(err) && ctx.Err() == nil {
		if err := w.dropBase(ctx, *base, err); err != nil {
			return err
		}
		err = w.write(ctx, operation.RawInstance(instance, w.plan), to, key, nil)
	}
	if err != nil {
		return err
	}
	return w.runner.Archive.PutManifest(ctx, w.manifest(instance, recipients))
}

// write stores the copy, which builds on base unless that is nil.
func (w *work) write(ctx context.Context, raw services.RawInstance, to []age.Recipient, key Key, base *store.Backup) (err error) {
	request := services.RawBackup{Instance: raw}
	if base != nil {
		stored, err := storedOf(*base)
		if err != nil {
			return err
		}
		read := w.copyOf(stored, key, 0)
		request.Base = &read
	}
	w.stored, err = w.runner.Archive.Write(ctx, w.name(), to, w.limit(), w.raw.Store, func(ctx context.Context, out io.Writer) (services.Contents, error) {
		request.Writer = out
		contents, err := w.driver.Backup(ctx, request)
		if err == nil && contents.Incremental && base == nil {
			err = errors.New("the backend made an incremental copy without a base")
		}
		return contents, err
	})
	w.baseID = ""
	if err == nil && w.stored.Contents.Incremental {
		w.baseID = base.ID
	}
	return err
}

// limit is the largest copy that the plan allows, in bytes; 0: unlimited.
func (w *work) limit() int64 {
	if w.plan.Backups == nil {
		return 0
	}
	return int64(w.plan.Backups.MaxSize)
}

// instance reads the instance that is copied or restored to, and opens its driver.
func (w *work) instance(ctx context.Context) (store.Instance, error) {
	i, err := w.runner.Store.Instance(ctx, w.runner.Store.Pool, w.Copy.InstanceID)
	if store.NotFound(err) {
		return i, services.Rejected("the instance was deleted meanwhile")
	} else if err != nil {
		return i, fmt.Errorf("read the instance: %w", err)
	}
	if operation.SafeName(i) != w.Copy.ResourceName {
		return i, services.Rejected("the instance has been given other data meanwhile")
	}
	return i, w.open(i.ServiceID, i.PlanID, i.Backend, i.BackendType, i.Server)
}

func (w *work) manifest(i store.Instance, to []*age.X25519Recipient) Manifest {
	m := Manifest{
		ID: w.Backup.ID, Label: w.Backup.Name, Base: w.baseID, Created: w.began.UTC(), Stored: w.stored,
		Instance: Owner{
			ID: i.ResourceKey(), Name: w.Backup.ResourceName, Platform: i.Platform, Organization: i.OrganizationID, Space: i.SpaceID,
			Namespace: i.Namespace, ServiceID: i.ServiceID, Service: w.plan.Service.Name, PlanID: i.PlanID, Plan: w.plan.Name,
			BackendType: i.BackendType, Parameters: i.Parameters, Context: i.Context,
		},
	}
	for _, r := range to {
		m.Recipients = append(m.Recipients, strings.TrimSpace(r.String()))
	}
	return m
}
