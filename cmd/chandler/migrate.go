package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/chandler-broker/chandler/broker/store"
)

func newMigrate() *cobra.Command {
	return &cobra.Command{
		Use:   "migrate",
		Short: "Bring the state database to this version, and end",
		Long: `Migrate does what serve does first: it brings the state database to this version.
It needs nothing but the database, may run beside brokers of this version and the one
before, and may be repeated. Run it as a task before an upgrade, so that a migration that
fails is known before a replica is replaced.`,
		Args: usageArgs(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			s, fault := environmentSettings()
			if fault == nil && s.DatabaseURL == "" {
				fault = errNoDatabase
			}
			log, err := newLogger(s.LogFormat, s.LogLevel, os.Stderr)
			if err := errors.Join(fault, err); err != nil {
				return err
			}
			limited, cancel := context.WithTimeout(cmd.Context(), 30*time.Second)
			defer cancel()
			db, err := store.Open(limited, s.DatabaseURL, 4)
			if err != nil {
				return err
			}
			defer db.Close()
			if err := db.Migrate(cmd.Context(), log); err != nil {
				return err
			}
			fmt.Fprintln(cmd.OutOrStdout(), "the state database is at this version")
			return nil
		},
	}
}
