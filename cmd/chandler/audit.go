package main

import (
	"context"
	"errors"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/chandler-broker/chandler/broker/operator"
	"github.com/chandler-broker/chandler/broker/store"
)

// moment is a time on the command line: RFC 3339, a date, or a duration before now.
type moment struct{ *time.Time }

// String implements pflag.Value.
func (m moment) String() string {
	if m.Time == nil || m.IsZero() {
		return ""
	}
	return m.Format(time.RFC3339)
}

// Type implements pflag.Value.
func (m moment) Type() string { return "time" }

// Set implements pflag.Value.
func (m moment) Set(text string) (err error) {
	if ago, err := time.ParseDuration(text); err == nil {
		*m.Time = time.Now().Add(-ago)
		return nil
	}
	for _, layout := range []string{time.RFC3339, time.DateTime, time.DateOnly} {
		if *m.Time, err = time.ParseInLocation(layout, text, time.UTC); err == nil {
			return nil
		}
	}
	return errors.New("must be a time such as 2006-01-02 or 2006-01-02T15:04:05Z, or a duration before now, such as 36h")
}

func newAudit() *cobra.Command {
	var f operator.AuditFilter
	cmd := list(verb{
		use: "audit", short: "Show who changed what and when, latest first", needs: stateOnly(),
		long: `Audit prints the audit record: every change that a platform requested (accepted) and its
result (succeeded, failed, cancelled), and what operators did: retry, forget, restore,
adopt, remove (of an orphan), and deprovision for "instances purge". It never holds
parameters or credentials. An entry must match all filters. Entries are kept for
CHANDLER_AUDIT_RETENTION, 400 days by default.`,
	}, auditTable(), func(ctx context.Context, s *session) ([]store.Audit, error) { return s.Audit(ctx, f) })
	flags := cmd.Flags()
	flags.Var(moment{&f.Since}, "since", "only from this time on: 2006-01-02, 2006-01-02T15:04:05Z (UTC), or a duration before now, such as 36h")
	flags.Var(moment{&f.Until}, "until", "only before this time")
	flags.StringVar(&f.Instance, "instance", "", "only entries on this instance and its bindings")
	flags.StringVar(&f.Binding, "binding", "", "only entries on this binding")
	flags.StringVar(&f.Actor, "actor", "", "only entries by this platform, or with this text in the user identity that the platform sent or in the operator's name")
	flags.StringVar(&f.Action, "action", "", "only this action: "+strings.Join(operator.AuditActions(), ", "))
	flags.IntVar(&f.Limit, "limit", 100, "at most this many; 0: all")
	return cmd
}

func auditTable() table[store.Audit] {
	return table[store.Audit]{
		header: []string{"AT", "ACTION", "EVENT", "OUTCOME", "PLATFORM", "WHO", "REQUEST", "INSTANCE", "BINDING", "RESOURCE"},
		cells: func(e store.Audit) []string {
			return []string{
				timeText(e.At), string(e.Action), string(e.Event), string(e.Outcome), e.Platform, string(e.Originating), e.RequestID, e.InstanceID, e.BindingID, e.Resource,
			}
		},
	}
}
