package brokertest

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/chandler-broker/chandler/services"
)

const (
	heldFormat = "held-1"
	// heldSize is the size of every backup that the server holds, in bytes.
	heldSize = 1500
)

// heldBackup is a backup that the server holds.
type heldBackup struct {
	services.HeldBackup
	data  map[string]string
	ready bool
}

// holder is the backend of HolderDefinition: a BackupHolder, and no Streamer.
type holder struct {
	services.Backend[Plan, Params, BindParams]
	m *Backend
}

// HolderDefinition describes the same backend as "database/holder", whose server holds its backups.
func (m *Backend) HolderDefinition() services.Definition {
	return services.Define("database/holder",
		services.Schemas{InstanceCreate: []byte(instanceSchema), InstanceUpdate: []byte(instanceSchema), BindingCreate: []byte(bindingSchema)},
		services.Client{CredentialType: "memory"},
		func(context.Context, config) (holder, error) { return holder{m, m}, nil })
}

// Ready implements services.Readier.
func (h holder) Ready(ctx context.Context) error { return h.m.Ready(ctx) }

// List implements services.Lister.
func (h holder) List(ctx context.Context) ([]services.Resource, error) { return h.m.List(ctx) }

// Footprint implements services.FootprintReporter.
func (h holder) Footprint(p Plan) services.Space { return h.m.Footprint(p) }

// Provision implements services.Backend. The first call that restores a backup returns NotYet.
func (h holder) Provision(ctx context.Context, r services.ProvisionRequest[Plan, Params]) (none services.ProvisionResult, err error) {
	if r.RestoreFrom == nil {
		return h.m.Provision(ctx, r)
	}
	return none, h.m.call(ctx, "provision from", r.Instance.ID, "", func() error {
		b, ok := h.m.held[r.RestoreFrom.ID]
		if !ok || b.Instance != r.RestoreFrom.Instance {
			return services.Rejected("the backup no longer exists")
		}
		if h.m.instances[r.Instance.Name] == nil {
			h.m.instances[r.Instance.Name] = &instance{passwords: map[string]string{}, data: maps.Clone(b.data)}
			return services.NotYet(50*time.Millisecond, "the instance is being made")
		}
		return h.m.set(r.Instance)
	})
}

// CreateBackup implements services.BackupHolder. Its first call returns NotYet.
func (h holder) CreateBackup(ctx context.Context, r services.CreateBackupRequest[Plan, Params]) (services.CreateBackupResult, error) {
	err := h.m.call(ctx, "create backup", r.Instance.ID, "", func() error {
		if b, ok := h.m.held[r.BackupID]; ok {
			b.ready = true
			return nil
		}
		i := h.m.instances[r.Instance.Name]
		if i == nil {
			return fmt.Errorf("instance %s does not exist", r.Instance.Name)
		}
		h.m.hold(r.Instance.Name, r.BackupID, time.Now(), i.data)
		return services.NotYet(50*time.Millisecond, "the server makes the backup")
	})
	return services.CreateBackupResult{Format: heldFormat, Size: heldSize}, err
}

func (m *Backend) hold(instance, id string, created time.Time, data map[string]string) {
	m.held[id] = &heldBackup{HeldBackup: services.HeldBackup{Instance: instance, ID: id, Created: created}, data: maps.Clone(data)}
}

// Hold makes the server hold a backup that the broker's state does not know.
func (m *Backend) Hold(id string, created time.Time) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.hold("unknown", id, created, nil)
}

// Held returns the IDs of the backups that the server holds.
func (m *Backend) Held() []string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Sorted(maps.Keys(m.held))
}

// ListBackups implements services.BackupHolder.
func (h holder) ListBackups(context.Context) (list []services.HeldBackup, err error) {
	h.m.mu.Lock()
	defer h.m.mu.Unlock()
	for _, b := range h.m.held {
		list = append(list, b.HeldBackup)
	}
	return list, nil
}

// DeleteBackup implements services.BackupHolder. Its first call for a backup that is ready returns
// NotYet.
func (h holder) DeleteBackup(ctx context.Context, b services.HeldBackup) error {
	return h.m.call(ctx, "delete backup", b.ID, "", func() error {
		if held, ok := h.m.held[b.ID]; ok && held.ready {
			held.ready = false
			return services.NotYet(50*time.Millisecond, "the server deletes the backup")
		}
		delete(h.m.held, b.ID)
		return nil
	})
}
