package workspace

import (
	"context"
	"fmt"
	"io"
	"os"

	"github.com/chandler-broker/chandler/embedded"
	"github.com/chandler-broker/chandler/embedded/openstack"
	"github.com/chandler-broker/chandler/services/all"
)

// cloudCompanion is a private OpenStack cloud with Ceph.
func cloudCompanion() Companion { return Companion{all.Cloud(), startCloud} }

func startCloud(ctx context.Context, f *Folder, progress io.Writer) (Server, map[string]string, error) {
	c, err := openstack.Start(ctx, openstack.Options{Options: embedded.Options{Dir: f.Path("openstack")}, Services: openstack.Services(), Progress: progress})
	if err != nil {
		return nil, nil, err
	}
	// Clients of shares run Ceph's programs, also those of this process's smoke test.
	if err := os.Setenv("PATH", c.Programs()+string(os.PathListSeparator)+os.Getenv("PATH")); err != nil {
		return nil, nil, fmt.Errorf("find the cloud's programs: %w", err)
	}
	return c, c.Variables(), nil
}

// everyBackend are the types of all backends.
func everyBackend() []string {
	var types []string
	for _, d := range all.Definitions() {
		types = append(types, d.Name)
	}
	return types
}
