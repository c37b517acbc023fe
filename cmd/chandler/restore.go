package main

import (
	"context"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"github.com/chandler-broker/chandler/broker/operation"
)

func newRestore() *cobra.Command {
	var flags operatorFlags
	var newID string
	cmd := flags.verb("restore ID", "Bring a deleted instance that is kept back under a new ID", cobra.ExactArgs(1), openOptions{stateOnly: true},
		func(ctx context.Context, a *app, w io.Writer, args []string) error {
			if newID == "" {
				return usagef("--as is missing: the ID under which the platform will know the instance")
			}
			kept, err := a.keptID(ctx, args[0])
			if err != nil {
				return err
			}
			if err := a.engine.Restore(ctx, operation.Restoration{KeptID: kept, NewID: newID, Originating: operatorIdentity()}); err != nil {
				return err
			}
			fmt.Fprintf(w, "restored: %s as %s\n", kept, newID)
			return nil
		})
	cmd.Long = `Restore brings an instance back that its platform has deleted, while its plan keeps
it: 'chandler instances list' shows for how long. ID is the one that the platform knew, or
the longer one of that list. Bindings do not come back: applications are bound anew.

The instance named by --as is either one that the broker does not know, which the
platform is told of by other means; or an instance that the platform has just created
on the same service and plan, in the same organization, and that has no bindings. The
deleted instance's data takes the place of its own, which is removed.`
	cmd.Flags().StringVar(&newID, "as", "", "the instance's new ID")
	return cmd
}

func newAdopt() *cobra.Command {
	var flags operatorFlags
	var resource string
	var dry bool
	cmd := flags.verb("adopt ID", "Make what exists on a backend's server an instance's", cobra.ExactArgs(1), openOptions{},
		func(ctx context.Context, a *app, w io.Writer, args []string) error {
			if resource == "" {
				return usagef("--resource is missing: the name of the resource on the server")
			}
			steps, err := a.engine.Adopt(ctx, operation.Adoption{InstanceID: args[0], Resource: resource, Dry: dry, Originating: operatorIdentity()})
			if err != nil {
				return err
			}
			heading := "adopted"
			if dry {
				heading = "would be adopted"
			}
			fmt.Fprintf(w, "%s: %s as %s\n", heading, resource, args[0])
			for _, step := range steps {
				fmt.Fprintf(w, "- %s\n", step)
			}
			return nil
		})
	cmd.Long = `Adopt takes over what was made without the broker, such as a database that an
application has used for years. Its owner creates an instance as usual; ID is that
one ("cf service NAME --guid"). It has no bindings yet. The existing resource takes the
place of its own, which has to be empty; then applications are bound as usual.

Everything that has to be done first is told together, and nothing is changed then.
With --dry-run nothing is changed in any case. A command that was cut short is repeated.`
	cmd.Flags().StringVar(&resource, "resource", "", "what the server calls it: of PostgreSQL, the database")
	cmd.Flags().BoolVar(&dry, "dry-run", false, "only say what would be done, or what speaks against it")
	return cmd
}

func newPurge() *cobra.Command {
	var flags operatorFlags
	var force bool
	cmd := flags.verb("purge ID", "Remove the data of a deleted instance that is kept, now", cobra.ExactArgs(1), openOptions{stateOnly: true},
		func(ctx context.Context, a *app, w io.Writer, args []string) error {
			if !force {
				return usagef("--force is missing: purged data cannot be restored; add --force if you want that")
			}
			kept, err := a.keptID(ctx, args[0])
			if err != nil {
				return err
			}
			if err := a.engine.Purge(ctx, kept, operatorIdentity()); err != nil {
				return err
			}
			fmt.Fprintf(w, "a running broker removes it: %s\n", kept)
			return nil
		})
	cmd.Flags().BoolVar(&force, "force", false, "really do it")
	return cmd
}

// keptID finds the kept instance that the operator means, by its own ID or by
// the one that its platform knew.
func (a *app) keptID(ctx context.Context, id string) (string, error) {
	found, err := a.store.KeptInstances(ctx, a.store.Pool, id)
	if err != nil {
		return "", err
	}
	var ids []string
	for _, i := range found {
		if i.ID == id {
			return id, nil
		}
		ids = append(ids, i.ID)
	}
	switch len(ids) {
	case 0:
		return "", fmt.Errorf("no deleted instance %q is kept; 'chandler instances list' shows those that are", id)
	case 1:
		return ids[0], nil
	}
	return "", fmt.Errorf("%q was deleted several times; name one of these: %s", id, strings.Join(ids, ", "))
}
