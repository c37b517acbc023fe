package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/chandler-broker/chandler/broker/osb/osbclient"
)

type smokeOptions struct {
	url, username, password string
	service, plan           string
	output                  output
}

func newSmoke() *cobra.Command {
	o := smokeOptions{}
	cmd := &cobra.Command{
		Use:   "smoke",
		Short: "Prove that every plan of a running broker works: provision, bind, use, revoke, restore",
		Long: `Smoke is a client. For every plan it provisions an instance, binds it twice, writes and
reads as applications do, revokes one binding, proves that its credentials are refused and
the other's still work, and deprovisions. If the plan has backups, it also clones the
instance, which backs it up and restores it, and reads the clone's data. It cleans up after
itself. It exits with 1 if anything does not work.

The user is CHANDLER_USERNAME and CHANDLER_PASSWORD, or that of the flags; a password in a
flag appears in the list of processes.`,
		Args: usageArgs(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if o.username == "" || o.password == "" {
				return usagef("set CHANDLER_USERNAME and CHANDLER_PASSWORD, or --username and --password")
			}
			return smoke(cmd.Context(), o, cmd.OutOrStdout())
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&o.url, "url", "http://127.0.0.1:8080", "the broker's URL")
	flags.StringVar(&o.username, "username", os.Getenv("CHANDLER_USERNAME"), "the platform's user")
	flags.StringVar(&o.password, "password", "", "the platform's password")
	flags.StringVar(&o.service, "service", "", "only this service")
	flags.StringVar(&o.plan, "plan", "", "only this plan")
	o.output.flag(cmd, false)
	cmd.PreRun = func(*cobra.Command, []string) {
		if o.password == "" { // not the flag's default: the help would print it
			o.password = os.Getenv("CHANDLER_PASSWORD")
		}
	}
	return cmd
}

// smokeReport is the result, as JSON shows it.
type smokeReport struct {
	OK    bool        `json:"ok"`
	Plans []smokePlan `json:"plans"`
}

type smokePlan struct {
	Service string      `json:"service"`
	Plan    string      `json:"plan"`
	OK      bool        `json:"ok"`
	Steps   []smokeStep `json:"steps"`
}

type smokeStep struct {
	Name         string  `json:"name"`
	OK           bool    `json:"ok"`
	Milliseconds float64 `json:"milliseconds"`
	Error        string  `json:"error,omitempty"`
}

// errSmoke ends a smoke test with a failed step, which is printed.
var errSmoke = errors.New("not everything works")

func smoke(ctx context.Context, o smokeOptions, w io.Writer) error {
	client, err := osbclient.New(osbclient.Options{
		URL: o.url, Username: o.username, Password: o.password, MaxRetryAfter: time.Second,
		Originating: &osbclient.Identity{Platform: "chandler", Value: map[string]string{"command": "smoke"}},
	})
	if err != nil {
		return usageError{err}
	}
	catalog, err := client.Catalog(ctx)
	if err != nil {
		return fmt.Errorf("fetch the catalog of %s: %w", o.url, err)
	}
	began := time.Now()
	progress := w
	if o.output.format == "json" {
		progress = io.Discard
	}
	report := smokeReport{OK: true, Plans: []smokePlan{}}
	for _, service := range catalog.Services {
		for _, plan := range service.Plans {
			if o.service != "" && o.service != service.Name || o.plan != "" && o.plan != plan.Name {
				continue
			}
			run := smokeRun{client: client, service: service, plan: plan, out: progress}
			p := run.run(ctx)
			report.OK = report.OK && p.OK
			report.Plans = append(report.Plans, p)
		}
	}
	if len(report.Plans) == 0 {
		return usagef("no plan of the catalog matches --service and --plan")
	}
	if o.output.format == "json" {
		if err := printJSON(w, report); err != nil {
			return err
		}
	} else if report.OK {
		fmt.Fprintf(w, "ok: %d plan(s) proved in %s\n", len(report.Plans), time.Since(began).Round(time.Millisecond))
	}
	if !report.OK {
		return errSmoke
	}
	return nil
}
