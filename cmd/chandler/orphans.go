package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/chandler-broker/chandler/broker/operator"
)

// orphan is a difference with what the operator can do about it.
type orphan struct {
	operator.Difference
	Advice string `json:"advice"`
}

func newOrphans() *cobra.Command {
	var remove bool
	cmd := verb{
		use: "orphans", short: "Compare what the backends hold with the state, and clean up",
		long: `Orphans lists what the backends hold and the state does not (orphan), what the state
holds and the backends do not (missing), and instances of which the backend has only a
part (incomplete), and what to do about each. Without --remove it changes nothing. It
exits with 1 when there is any difference. It may run beside a working broker.

After the state was restored from a backup, instances that were created since are orphans:
adopt those whose data is needed before you run --remove, which deletes the others.`,
		do: func(ctx context.Context, s *session) error {
			drift, err := s.Drift(ctx)
			if err != nil {
				return err
			}
			var rows []orphan
			for _, d := range drift.Differences {
				rows = append(rows, orphan{d, advice(d)})
			}
			if err := orphanTable().print(s.out, s.output, rows); err != nil {
				return err
			}
			if remove {
				return errors.Join(s.RemoveOrphans(ctx, s.by, drift.Differences), drift.Unanswered)
			}
			if len(rows) > 0 {
				err = fmt.Errorf("%d difference(s); the last column says what to do about each", len(rows))
			}
			return errors.Join(err, drift.Unanswered)
		},
	}.command()
	cmd.Flags().BoolVar(&remove, "remove", false, "delete the orphans, data included; the audit record notes each")
	return cmd
}

func orphanTable() table[orphan] {
	return table[orphan]{header: []string{"BACKEND", "KIND", "RESOURCE", "INSTANCE", "BINDING", "WHAT TO DO"}, cells: func(o orphan) []string {
		return []string{o.Backend, string(o.Kind), o.Resource, o.InstanceID, o.BindingID, o.Advice}
	}}
}

// advice says what the operator can do about a difference.
func advice(d operator.Difference) string {
	switch {
	case d.Kind == operator.Orphan && d.Listing.Leftover:
		return "what is left of something deleted, without access to anything: --remove deletes it, or says what it waits for"
	case d.Kind == operator.Orphan && d.Listing.Binding != "":
		return "a login that no binding knows: --remove revokes it"
	case d.Kind == operator.Orphan:
		return fmt.Sprintf("keep its data: chandler instances adopt NEW-ID --resource %s; or --remove deletes it", d.Resource)
	case d.Kind == operator.Incomplete:
		return fmt.Sprintf("%s is gone, and only this is left: restore it on the server from a backup, or have the platform delete the instance", d.Expected)
	case d.BindingID != "":
		return fmt.Sprintf("its instance is not affected; have the platform unbind it, or: chandler bindings forget %s --force", d.BindingID)
	}
	return fmt.Sprintf("restore it on the server from a backup; if it is gone for good, have the platform delete it or: chandler instances forget %s --force", d.InstanceID)
}
