package servicetest_test

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/chandler-broker/chandler/services"
)

// full is what the memory backend is, but no Streamer.
type full interface {
	services.Backend[plan, params, bindParams]
	services.Readier
	services.Lister
	services.UpdateChecker[plan, params]
	services.Verifier[plan, params, bindParams]
	services.Namer[plan, params]
}

// holder is the memory backend for a server that holds backups, under held/INSTANCE/ID. The server
// needs home/INSTANCE for them.
type holder struct {
	full
	m *memory
}

// snapshot is the value of a backup; without Data it is being made.
type snapshot struct {
	Created time.Time
	Data    map[string]string
}

func (h *holder) get(ctx context.Context, key string) (string, error) {
	answer, err := do(ctx, h.m.config.Address, request{Op: "get", Token: adminToken, Key: key})
	return answer.Value, err
}

func (h *holder) snapshot(ctx context.Context, key string) (s snapshot, found bool, err error) {
	text, err := h.get(ctx, key)
	if err != nil || text == "" {
		return s, false, err
	}
	return s, true, json.Unmarshal([]byte(text), &s)
}

func (h *holder) put(ctx context.Context, key string, s snapshot) error {
	text, err := json.Marshal(s)
	if err != nil {
		return err
	}
	_, err = h.m.do(ctx, "put", key, string(text))
	return err
}

// values returns what is under a prefix, by the rest of the keys.
func (h *holder) values(ctx context.Context, prefix string) (map[string]string, error) {
	keys, err := h.m.do(ctx, "list", prefix, "")
	values := map[string]string{}
	for _, key := range keys {
		value, failed := h.get(ctx, key)
		values[strings.TrimPrefix(key, prefix)] = value
		err = errors.Join(err, failed)
	}
	return values, err
}

func (h *holder) CreateBackup(ctx context.Context, r services.CreateBackupRequest[plan, params]) (result services.CreateBackupResult, err error) {
	result = services.CreateBackupResult{Format: "memory-1", Size: 1}
	key := "held/" + r.Instance.Name + "/" + r.BackupID
	s, found, err := h.snapshot(ctx, key)
	switch {
	case err != nil:
		return result, err
	case found && s.Data != nil && h.m.has(flawHeldTwice):
		return result, h.put(ctx, "held/"+r.Instance.Name+"/"+uuid.NewString(), s)
	case found && s.Data != nil:
		return result, nil
	case !found:
		if _, err := h.m.do(ctx, "put", "home/"+r.Instance.Name, "x"); err != nil {
			return result, err
		}
		if err := h.put(ctx, key, snapshot{Created: time.Now()}); err != nil {
			return result, err
		}
		return result, services.NotYet(time.Millisecond, "the server makes the backup")
	}
	if s.Data, err = h.values(ctx, "data/"+r.Instance.Name+"/"); err != nil {
		return result, err
	}
	if h.m.has(flawHeldEmpty) {
		delete(s.Data, "number 7")
	}
	if h.m.has(flawHeldAccounts) {
		accounts, err := h.values(ctx, "binding/"+r.Instance.Name+"/")
		if err != nil {
			return result, err
		}
		for user, account := range accounts {
			s.Data["account "+user] = account
		}
	}
	return result, h.put(ctx, key, s)
}

func (h *holder) ListBackups(ctx context.Context) (list []services.HeldBackup, err error) {
	keys, err := h.m.do(ctx, "list", "held/", "")
	for _, key := range keys {
		s, found, failed := h.snapshot(ctx, key)
		err = errors.Join(err, failed)
		if parts := strings.Split(key, "/"); found {
			list = append(list, services.HeldBackup{Instance: parts[1], ID: parts[2], Created: s.Created})
		}
	}
	return list, err
}

// DeleteBackup deletes what is left for backups after the last one.
func (h *holder) DeleteBackup(ctx context.Context, b services.HeldBackup) error {
	if _, err := h.m.do(ctx, "delete", "held/"+b.Instance+"/"+b.ID, ""); err != nil || h.m.has(flawHeldOrphan) {
		return err
	}
	return h.leave(ctx, b.Instance)
}

func (h *holder) leave(ctx context.Context, instance string) error {
	for _, prefix := range []string{"held/" + instance + "/", "instance/" + instance} {
		if keys, err := h.m.do(ctx, "list", prefix, ""); err != nil || len(keys) > 0 {
			return err
		}
	}
	_, err := h.m.do(ctx, "delete", "home/"+instance, "")
	return err
}

// Provision writes the data before the instance, whose key says that it is complete.
func (h *holder) Provision(ctx context.Context, r services.ProvisionRequest[plan, params]) (result services.ProvisionResult, err error) {
	if r.RestoreFrom == nil {
		return h.full.Provision(ctx, r)
	}
	there, err := h.m.do(ctx, "list", "instance/"+r.Instance.Name, "")
	if err != nil {
		return result, err
	}
	if len(there) > 0 {
		return h.full.Provision(ctx, r)
	}
	if h.m.has(flawHeldHalf) {
		if result, err = h.full.Provision(ctx, r); err != nil {
			return result, err
		}
	}
	s, found, err := h.snapshot(ctx, "held/"+r.RestoreFrom.Instance+"/"+r.RestoreFrom.ID)
	if err != nil {
		return result, err
	}
	if !found && !h.m.has(flawHeldUnknown) {
		return result, services.Rejected("the backup no longer exists")
	}
	for key, value := range s.Data {
		to := "data/" + r.Instance.Name + "/" + key
		if user, ok := strings.CutPrefix(key, "account "); ok {
			to = "binding/" + r.Instance.Name + "/" + user
		}
		if _, err := h.m.do(ctx, "put", to, value); err != nil {
			return result, err
		}
	}
	return h.full.Provision(ctx, r)
}

func (h *holder) Deprovision(ctx context.Context, r services.DeprovisionRequest[plan, params]) (services.DeprovisionResult, error) {
	if h.m.has(flawHeldLost) {
		if _, err := h.m.do(ctx, "delete", "held/"+r.Instance.Name+"/", ""); err != nil {
			return services.DeprovisionResult{}, err
		}
	}
	if result, err := h.full.Deprovision(ctx, r); err != nil {
		return result, err
	}
	return services.DeprovisionResult{}, h.leave(ctx, r.Instance.Name)
}
