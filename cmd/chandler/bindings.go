package main

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/chandler-broker/chandler/broker/operator"
)

func newBindings() *cobra.Command {
	return newNoun("bindings", "List service bindings, and forget lost ones", newBindingsList(), newBindingsShow(), newForgetBinding())
}

func newBindingsList() *cobra.Command {
	var f operator.Filter
	cmd := list(verb{use: "list", short: "List bindings", needs: stateOnly()}, bindingTable(),
		func(ctx context.Context, s *session) ([]operator.Binding, error) { return s.Bindings(ctx, f) })
	filterFlags(cmd, &f, operator.BindingStatuses())
	cmd.Flags().StringVar(&f.Instance, "instance", "", "only of this instance")
	return cmd
}

func bindingTable() table[operator.Binding] {
	return table[operator.Binding]{header: []string{"ID", "INSTANCE", "APPLICATION", "STATUS", "CREATED", "EXPIRES"}, cells: func(b operator.Binding) []string {
		return []string{b.ID, b.InstanceID, b.AppID, string(b.Status), timeText(b.CreatedAt), optionalTime(b.ExpiresAt)}
	}}
}

func newBindingsShow() *cobra.Command {
	return verb{
		use: "show ID", short: "Show a binding, the path of its credentials, and its name in the backend", args: cobra.ExactArgs(1), needs: stateOnly(),
		do: func(ctx context.Context, s *session) error {
			b, err := s.Binding(ctx, s.args[0])
			if err != nil {
				return err
			}
			return s.show(b, "id", b.ID, "instance", b.InstanceID, "platform", b.Platform, "application", b.AppID,
				"predecessor", b.PredecessorID, "status", string(b.Status), "created", timeText(b.CreatedAt), "expires", optionalTime(b.ExpiresAt),
				"name in the backend", b.Name, "credentials at", b.Credentials)
		},
	}.command()
}
