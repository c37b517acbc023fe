package trove

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/chandler-broker/chandler/services"
	"github.com/chandler-broker/chandler/services/httpapi"
	"github.com/chandler-broker/chandler/services/openstack"
)

// poll is how long to wait before Trove is asked again.
const poll = 2 * time.Second

// works says whether Trove accepts requests about a server's users and databases.
func (s server) works() bool {
	return slices.Contains([]string{"ACTIVE", "HEALTHY", "BACKUP", "RESTART_REQUIRED"}, s.Status)
}

// failed says whether nothing but an operator changes a server's status.
func (s server) failed() bool {
	return slices.Contains([]string{"ERROR", "FAILED", "BLOCKED"}, s.Status)
}

// idle says whether Trove accepts an action.
func (s server) idle() bool { return s.works() && s.Status != "BACKUP" }

// usable is nil if a server works.
func (s server) usable() error {
	switch {
	case s.works():
		return nil
	case s.failed():
		return fmt.Errorf("Trove reports the status %s of the server %s: find out why (openstack database instance show %[2]s) and repair it", s.Status, s.ID) //nolint:staticcheck // a name
	}
	return s.wait()
}

// wait is the error of a call that waits for a server.
func (s server) wait() error {
	doing := map[string]string{
		"BUILD": "is being made", "REBOOT": "is being restarted", "RESIZE": "is being resized", "SHUTDOWN": "is shut down or being deleted",
		"BACKUP": "is being backed up", "UPGRADE": "is being upgraded",
	}[s.Status]
	if doing == "" {
		doing = "has the status " + line(s.Status)
	}
	return services.NotYet(poll, "the database server "+doing)
}

// explain adds to an error what the broker was doing. It makes a refusal because the server is
// busy NotYet, and one because of a quota the user's.
func explain(doing string, err error) error {
	f, ok := openstack.AsFailure(err)
	switch {
	case !ok && errors.Is(err, io.EOF) && !httpapi.IsOutage(err):
		return fmt.Errorf("%s: Trove answers nothing where its API has an answer", doing)
	case !ok:
		return openstack.Explain(doing, err)
	}
	switch f.Status {
	case http.StatusUnprocessableEntity: // "is not ready"
		return services.NotYet(poll, "the database server is busy: "+line(f.Message))
	case http.StatusRequestEntityTooLarge:
		return services.Rejected("%s: the cloud's quota or limit is exceeded: %s; ask your operator to raise it, or choose a smaller plan", doing, strings.TrimSuffix(line(f.Message), "."))
	}
	return openstack.Explain(doing, err)
}

// refused says whether Trove refused what a request contained.
func refused(err error) bool { return openstack.Status(err) == http.StatusBadRequest }

// faultOf is the last error of a server, in words.
func faultOf(s server) string {
	if s.Fault == nil || s.Fault.Message == "" {
		return "Trove does not say why"
	}
	return "Trove says: " + line(s.Fault.Message)
}
