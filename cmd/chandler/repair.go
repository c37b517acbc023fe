package main

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/chandler-broker/chandler/broker/operator"
	"github.com/chandler-broker/chandler/broker/server"
)

func newForget() *cobra.Command {
	return forgetVerb(verb{
		short: "Remove an instance and its credentials from the broker, without touching the backend",
		long: `Forget removes an instance whose resource is gone for good, with its bindings and their
credentials. Whatever the backend still holds of it becomes an orphan. If only a login is
gone and the instance exists, forget the binding instead: 'chandler bindings forget'.`,
	}, (*operator.Operator).Forget)
}

func newForgetBinding() *cobra.Command {
	return forgetVerb(verb{
		short: "Remove a binding and its credentials from the broker, without touching the backend",
		long: `Forget removes a binding whose login is gone from the backend, for example because it was
unbound after the backup from which the state was restored. Its instance and the
instance's other bindings stay. If the login still exists, it becomes an orphan.`,
	}, (*operator.Operator).ForgetBinding)
}

func forgetVerb(v verb, forget func(o *operator.Operator, ctx context.Context, by operator.Actor, id string) error) *cobra.Command {
	v.use, v.args, v.needs = "forget ID", cobra.ExactArgs(1), server.Needs{StateOnly: true, Credentials: true}
	v.do = func(ctx context.Context, s *session) error {
		if err := forget(s.Operator, ctx, s.by, s.args[0]); err != nil {
			return err
		}
		s.printf("forgotten: %s; 'chandler orphans' shows what the backend still holds\n", s.args[0])
		return nil
	}
	return v.confirmed("whatever the backend still holds of it would become an orphan")
}

func newRestore() *cobra.Command {
	var newID string
	cmd := verb{
		use: "restore ID", short: "Restore a deleted instance that is retained, under a new ID", args: cobra.ExactArgs(1), needs: stateOnly(),
		long: `Restore brings back an instance that its platform has deleted, while its plan retains it:
'chandler instances list --status kept' shows until when. ID is the one that the platform
knew, or the longer one of that list. Bindings are not restored: bind the applications
again.

--as names an ID that the broker does not know yet, which the platform learns by other
means; or an instance that the platform has just created on the same service and plan, in
the same organization, and that has no bindings. The deleted instance's data takes the
place of its own, which is removed.`,
		do: func(ctx context.Context, s *session) error {
			if newID == "" {
				return usagef("--as is missing: name the ID under which the platform will know the instance")
			}
			retained, err := s.Restore(ctx, s.by, s.args[0], newID)
			if err != nil {
				return err
			}
			s.printf("restored: %s as %s\n", retained, newID)
			return nil
		},
	}.command()
	cmd.Flags().StringVar(&newID, "as", "", "the instance's new ID")
	return cmd
}

func newPurge() *cobra.Command {
	return verb{
		use: "purge ID", short: "Remove the data of a deleted instance that is retained, now", args: cobra.ExactArgs(1), needs: stateOnly(),
		do: func(ctx context.Context, s *session) error {
			retained, err := s.Purge(ctx, s.by, s.args[0])
			if err != nil {
				return err
			}
			s.printf("a running broker removes it: %s\n", retained)
			return nil
		},
	}.confirmed("purged data cannot be restored")
}

func newAdopt() *cobra.Command {
	var resource string
	var dry bool
	cmd := verb{
		use: "adopt ID", short: "Give an existing resource on a backend's server to an instance", args: cobra.ExactArgs(1),
		long: `Adopt takes over a resource that was made without the broker, such as a database that an
application has used for years. First its owner creates an instance as usual; ID is that
instance's ("cf service NAME --guid"). The instance must have no bindings, and its own
resource must be empty. The existing resource takes its place; then applications are
bound as usual.

If anything has to be done first, Adopt says so and changes nothing. With --dry-run it
never changes anything. Repeat a command that was interrupted.`,
		do: func(ctx context.Context, s *session) error {
			if resource == "" {
				return usagef("--resource is missing: give the name of the resource on the server")
			}
			steps, err := s.Adopt(ctx, s.by, s.args[0], resource, dry)
			if err != nil {
				return err
			}
			heading := "adopted"
			if dry {
				heading = "would be adopted"
			}
			s.printf("%s: %s as %s\n", heading, resource, s.args[0])
			for _, step := range steps {
				s.printf("- %s\n", step)
			}
			return nil
		},
	}.command()
	cmd.Flags().StringVar(&resource, "resource", "", "the resource's name on the server: for PostgreSQL, the database")
	cmd.Flags().BoolVar(&dry, "dry-run", false, "only print what would be done, or what has to be done first")
	return cmd
}
