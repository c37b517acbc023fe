package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"time"

	"github.com/chandler-broker/chandler/broker/backup"
	"github.com/chandler-broker/chandler/broker/catalog"
	"github.com/chandler-broker/chandler/broker/operator"
	"github.com/chandler-broker/chandler/broker/server"
	"github.com/chandler-broker/chandler/broker/store"
	"github.com/chandler-broker/chandler/services"
	"github.com/chandler-broker/chandler/services/all"
)

// listed is a backup as its manifest in the store describes it, with the state's record; nil: the state
// does not have it, or does not answer. If only the state has it, the manifest has its names only.
type listed struct {
	backup.Manifest
	State *operator.Backup `json:"state,omitempty"`
}

func listedTable() table[listed] {
	return table[listed]{
		header: []string{"BACKUP", "CREATED", "INSTANCE", "SERVICE", "PLAN", "SIZE", "STORED", "LABEL", "STATE", "VERIFIED", "NOTE"},
		cells: func(l listed) []string {
			cells := []string{
				l.Name(), timeText(l.Created), l.Instance.ID, l.Instance.Service, l.Instance.Plan,
				services.Size(l.Stored.Raw).String(), services.Size(l.Stored.Stored).String(), l.Label, "", "", "",
			}
			if l.State != nil {
				cells = append(cells[:8], string(l.State.State), optionalTime(l.State.VerifiedAt), note(*l.State))
			}
			return cells
		},
	}
}

// stateTime is how long list and show wait for the state.
const stateTime = 5 * time.Second

// withState adds the state's records to backups in the store, and those that only the state has.
func (s *storeSession) withState(ctx context.Context, f backup.Filter, found []backup.Manifest) []listed {
	rows := make([]listed, 0, len(found))
	var records []operator.Backup
	s.askState(ctx, func(ctx context.Context, o *operator.Operator) (err error) {
		records, err = o.Backups(ctx, f)
		return err
	})
	known := map[string]*operator.Backup{}
	for i := range records {
		known[records[i].Name()] = &records[i]
	}
	for _, m := range found {
		rows = append(rows, listed{m, known[m.Name()]})
		delete(known, m.Name())
	}
	for _, r := range records {
		if known[r.Name()] != nil {
			rows = append(rows, listed{s.manifestOf(r), known[r.Name()]})
		}
	}
	slices.SortStableFunc(rows, func(a, b listed) int { return b.Created.Compare(a.Created) })
	return rows
}

// manifestOf has the names of a backup that has no manifest.
func (s *storeSession) manifestOf(b operator.Backup) backup.Manifest {
	m := backup.Manifest{ID: b.ID, Label: b.Backup.Name, Created: b.CreatedAt, Instance: backup.Owner{
		ID: b.InstanceID, Name: b.ResourceName, Platform: b.Platform, Organization: b.OrganizationID, Space: b.SpaceID, Namespace: b.Namespace,
		ServiceID: b.ServiceID, Service: b.ServiceID, PlanID: b.PlanID, Plan: b.PlanID, BackendType: b.BackendType,
	}}
	if p, ok := s.names().Plan(b.ServiceID, b.PlanID); ok {
		m.Instance.Service, m.Instance.Plan = p.Service.Name, p.Name
	}
	return m
}

// names is the catalog without its variables.
func (s *storeSession) names() *catalog.Catalog {
	c, _ := catalog.LoadNames(s.settings.CatalogPath, all.Definitions(), s.settings.Lookup) // openBackups has read it
	return c
}

// stateOf returns the state's record of a backup; nil if the state has none, or does not answer.
func (s *storeSession) stateOf(ctx context.Context, m backup.Manifest) (known *operator.Backup) {
	s.askState(ctx, func(ctx context.Context, o *operator.Operator) error {
		b, err := o.Backup(ctx, m.ID)
		if _, missing := errors.AsType[*operator.NotFoundError](err); missing || err != nil {
			if missing {
				return nil
			}
			return err
		}
		if b.Name() == m.Name() {
			known = &b
		}
		return nil
	})
	return known
}

// askState calls ask if the environment names a state. If that does not answer, it says so.
func (s *storeSession) askState(ctx context.Context, ask func(context.Context, *operator.Operator) error) {
	if s.settings.DatabaseURL == "" {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, stateTime)
	defer cancel()
	db, err := server.OpenState(ctx, s.settings.Settings, 2)
	if err == nil {
		defer db.Close()
		if has, needs, versionErr := db.Version(ctx); versionErr != nil || has < needs {
			err = errors.Join(versionErr, fmt.Errorf("it is at version %d, and this program needs version %d", has, needs))
		} else {
			err = ask(ctx, &operator.Operator{Catalog: s.names(), Store: db})
		}
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "what only the state knows is not shown:", err)
	}
}

func stateFields(b *operator.Backup) []string {
	if b == nil {
		return nil
	}
	fields := []string{
		"state", string(b.State), "origin", string(b.Origin), "kept until", optionalTime(b.ExpiresAt),
		"verified", optionalTime(b.VerifiedAt), "verification failed", b.VerifyError, "last error", b.LastError,
	}
	for _, c := range b.Work {
		text := fmt.Sprintf("%s, %s, attempts: %d", timeText(c.CreatedAt), c.State, c.Attempts)
		if c.Kind == store.CopyRestore && c.InstanceID != "" {
			text += ", into " + c.InstanceID
		}
		if c.LastError != "" {
			text += ": " + c.LastError
		}
		fields = append(fields, string(c.Kind), text)
	}
	return fields
}
