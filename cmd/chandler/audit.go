package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/chandler-broker/chandler/broker/store"
)

// auditRow is an entry of the audit record as the operator sees it.
type auditRow struct {
	At          time.Time       `json:"at"`
	Action      string          `json:"action"`
	Event       string          `json:"event"`
	Outcome     string          `json:"outcome,omitempty"`
	Platform    string          `json:"platform,omitempty"`
	Originating json.RawMessage `json:"originating,omitempty"`
	RequestID   string          `json:"request_id,omitempty"`
	InstanceID  string          `json:"instance_id,omitempty"`
	BindingID   string          `json:"binding_id,omitempty"`
	OperationID string          `json:"operation_id,omitempty"`
	// Resource is what was removed that belonged to no instance.
	Resource string `json:"resource,omitempty"`
}

func newAuditRow(e store.Audit) auditRow {
	return auditRow{
		At: e.At, Action: e.Action, Event: e.Event, Outcome: e.Outcome, Platform: e.Platform, Originating: e.Originating,
		RequestID: e.RequestID, InstanceID: e.InstanceID, BindingID: e.BindingID, OperationID: e.OperationID, Resource: e.Resource,
	}
}

// auditFilter selects entries of the audit record.
type auditFilter struct {
	since, until                     moment
	instance, binding, actor, action string
	limit                            int
}

// moment is a time on the command line: RFC 3339, a date, or how long ago.
type moment struct{ time.Time }

// String implements pflag.Value.
func (m *moment) String() string {
	if m.IsZero() {
		return ""
	}
	return m.Format(time.RFC3339)
}

// Type implements pflag.Value.
func (m *moment) Type() string { return "time" }

// Set implements pflag.Value.
func (m *moment) Set(text string) (err error) {
	if ago, err := time.ParseDuration(text); err == nil {
		m.Time = time.Now().Add(-ago)
		return nil
	}
	for _, layout := range []string{time.RFC3339, time.DateTime, time.DateOnly} {
		if m.Time, err = time.ParseInLocation(layout, text, time.UTC); err == nil {
			return nil
		}
	}
	return fmt.Errorf("must be a time such as 2006-01-02 or 2006-01-02T15:04:05Z, or how long ago, such as 36h")
}

// auditActions are all actions of the audit record.
var auditActions = []string{
	store.Provision, store.Update, store.Deprovision, store.Bind, store.Unbind, store.Retire, store.Expire,
	"retry", "forget", "restore", "adopt", "remove",
}

func newAudit() *cobra.Command {
	var flags operatorFlags
	var f auditFilter
	cmd := flags.verb("audit", "Read who changed what and when, latest first", cobra.NoArgs, openOptions{stateOnly: true},
		func(ctx context.Context, a *app, w io.Writer, _ []string) error {
			rows, err := a.audit(ctx, f)
			if err != nil {
				return err
			}
			return printAudit(w, flags.output, rows)
		})
	cmd.Long = `Audit prints the audit record: every change that a platform requested (accepted) and its
result (succeeded, failed, cancelled), and what operators did: retry, forget, restore,
adopt, remove (of an orphan), and deprovision for "instances purge". It never holds
parameters or credentials. An entry must match all filters. Entries are kept for
CHANDLER_AUDIT_RETENTION, 400 days by default.`
	cmd.Flags().Var(&f.since, "since", "only from this time on: 2006-01-02, 2006-01-02T15:04:05Z (UTC), or how long ago, such as 36h")
	cmd.Flags().Var(&f.until, "until", "only before this time")
	cmd.Flags().StringVar(&f.instance, "instance", "", "only entries on this instance and its bindings")
	cmd.Flags().StringVar(&f.binding, "binding", "", "only entries on this binding")
	cmd.Flags().StringVar(&f.actor, "actor", "", "only entries by this platform, or with this text in the user identity that the platform sent or in the operator's name")
	cmd.Flags().StringVar(&f.action, "action", "", "only this action: "+strings.Join(auditActions, ", "))
	cmd.Flags().IntVar(&f.limit, "limit", 100, "at most this many; 0: all")
	return cmd
}

// audit reads what the filter selects, latest first.
func (a *app) audit(ctx context.Context, f auditFilter) ([]auditRow, error) {
	if f.action != "" && !slices.Contains(auditActions, f.action) {
		return nil, usagef("--action: must be one of %s, not %q", strings.Join(auditActions, ", "), f.action)
	}
	until := f.until.Time
	if until.IsZero() {
		until = time.Now().Add(24 * time.Hour) // the database's clock may be ahead
	}
	rows := []auditRow{}
	for before := int64(math.MaxInt64); ; {
		batch := pageSize
		if f.limit > 0 {
			batch = min(batch, f.limit-len(rows))
		}
		page, err := a.store.ListAudit(ctx, a.store.Pool, store.ListAuditParams{
			Before: before, Since: f.since.Time, Until: until, InstanceID: f.instance, BindingID: f.binding, Action: f.action, Actor: f.actor, Batch: int32(batch),
		})
		if err != nil {
			return nil, fmt.Errorf("read the audit record: %w", err)
		}
		for _, e := range page {
			rows = append(rows, newAuditRow(e))
		}
		if len(page) < batch || f.limit > 0 && len(rows) == f.limit {
			return rows, nil
		}
		before = page[len(page)-1].Seq
	}
}

func printAudit(w io.Writer, o output, rows []auditRow) error {
	header := []string{"AT", "ACTION", "EVENT", "OUTCOME", "PLATFORM", "WHO", "REQUEST", "INSTANCE", "BINDING", "RESOURCE"}
	return printRows(w, o, rows, header, func(r auditRow) []string {
		return []string{
			timeText(r.At), r.Action, r.Event, r.Outcome, r.Platform, string(r.Originating), r.RequestID, r.InstanceID, r.BindingID, r.Resource,
		}
	})
}
