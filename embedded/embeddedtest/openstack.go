package embeddedtest

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"testing"

	"github.com/chandler-broker/chandler/embedded"
	"github.com/chandler-broker/chandler/embedded/openstack"
)

const openStackPrefix = "chandler-test-openstack-"

// sharedOpenStack is a variable of the package for the reason that sharedPostgres is one.
var sharedOpenStack sharedCloud

// OpenStack returns this test process's cloud, which takes some seconds to start, and more than a
// minute the first time on a machine. All tests of a process must ask for the same services. If
// OpenStack is not unpacked, t is skipped, or fails with CI=true.
func OpenStack(t testing.TB, services ...openstack.Service) *openstack.Cloud {
	t.Helper()
	sharedOpenStack.once.Do(func() { sharedOpenStack.err = sharedOpenStack.open(t, services) })
	requireCloud(t, sharedOpenStack.err)
	if fmt.Sprint(services) != fmt.Sprint(sharedOpenStack.services) {
		t.Fatalf("the tests' cloud was started with the services %v, and this test needs %v", sharedOpenStack.services, services)
	}
	return sharedOpenStack.cloud
}

// OpenStackOn starts a cloud for t alone on a folder, which everybody can reach. t may restart and
// kill its servers.
func OpenStackOn(t testing.TB, dir string, services ...openstack.Service) *openstack.Cloud {
	t.Helper()
	o := openstack.Options{Options: embedded.Options{Dir: dir, NoSync: true}, Services: services, Progress: t.Output()}
	return running(t, func(ctx context.Context) (*openstack.Cloud, error) {
		c, err := openstack.Start(ctx, o)
		requireCloud(t, err)
		return c, err
	})
}

// sharedCloud is what shared is for one server.
type sharedCloud struct {
	once     sync.Once
	folder   string
	services []openstack.Service
	cloud    *openstack.Cloud
	err      error
}

func (s *sharedCloud) open(t testing.TB, services []openstack.Service) (err error) {
	sweep(os.TempDir(), openStackPrefix)
	if s.folder, err = os.MkdirTemp("", openStackPrefix); err != nil {
		return fmt.Errorf("make a folder for the test cloud: %w", err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 2*timeout)
	defer cancel()
	s.services = services
	o := openstack.Options{Options: embedded.Options{Dir: s.folder, NoSync: true}, Services: services, Progress: t.Output()}
	if err := os.Chmod(s.folder, 0o711); err != nil { //nolint:gosec // the servers' user passes it
		return err
	}
	if s.cloud, err = openstack.Start(ctx, o); err != nil {
		return errors.Join(fmt.Errorf("start the test cloud: %w", err), os.RemoveAll(s.folder))
	}
	return nil
}

func (s *sharedCloud) stop() error {
	if s.cloud == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	return errors.Join(s.cloud.Stop(ctx), os.RemoveAll(s.folder))
}

func requireCloud(t testing.TB, err error) {
	t.Helper()
	if err != nil && openstack.NotInstalled(err) {
		missing(t, err.Error())
	}
	if err != nil {
		t.Fatal(err)
	}
}
