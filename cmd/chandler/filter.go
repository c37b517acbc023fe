package main

import (
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/chandler-broker/chandler/broker/catalog"
)

// filter selects instances, bindings or operations that match all fields that are set.
type filter struct {
	platform, organization, space, service, plan, server, status string
	instance                                                     string // of bindings and operations
	condition                                                    bool   // of instances
	limit                                                        int    // 0: none

	// What resolved makes of service, plan and server.
	serviceIDs, planIDs []string
	backend, onServer   string
}

// flags adds the flags that instances, bindings and operations have in common. statuses
// is for the help; if it is empty there is no flag --status.
func (f *filter) flags(cmd *cobra.Command, statuses string) {
	cmd.Flags().StringVar(&f.platform, "platform", "", "only those of this platform, by its name in the catalog")
	cmd.Flags().StringVar(&f.organization, "organization", "", "only those of this organization, by its GUID")
	cmd.Flags().StringVar(&f.space, "space", "", "only those of this space, by its GUID")
	cmd.Flags().StringVar(&f.service, "service", "", "only those of this service, by name or ID")
	cmd.Flags().StringVar(&f.plan, "plan", "", "only those of this plan, by name or ID")
	cmd.Flags().StringVar(&f.server, "server", "", "only those on this server, as 'chandler servers' names it: a backend, or backend/server")
	if statuses != "" {
		cmd.Flags().StringVar(&f.status, "status", "", "only those in this status: "+statuses)
	}
	cmd.Flags().IntVar(&f.limit, "limit", 0, "at most this many (default: all)")
}

// resolved looks names up in the catalog. A service or plan that is not in the catalog
// may be the ID of an earlier one.
func (f filter) resolved(c *catalog.Catalog, statuses ...string) (filter, error) {
	if f.status != "" && !slices.Contains(statuses, f.status) {
		return f, usagef("--status: must be one of %[2]s, not %[1]q", f.status, strings.Join(statuses, ", "))
	}
	if f.limit < 0 {
		return f, usagef("--limit: must be a number above 0, or 0 for all")
	}
	if f.service != "" {
		f.serviceIDs = []string{f.service}
	}
	if f.plan != "" {
		f.planIDs = []string{f.plan}
	}
	for _, s := range c.Services() {
		if s.Name == f.service {
			f.serviceIDs = append(f.serviceIDs, s.ID)
		}
		for _, p := range s.Plans {
			if p.Name == f.plan {
				f.planIDs = append(f.planIDs, p.ID)
			}
		}
	}
	if f.server != "" {
		var named bool
		if f.backend, f.onServer, named = strings.Cut(f.server, "/"); !named {
			f.onServer = catalog.DefaultServer
		}
	}
	return f, nil
}

// ofInstance says whether the filter selects by fields that only instances have.
func (f filter) ofInstance() bool { return f.organization != "" || f.space != "" || f.backend != "" }
