package openstack

import (
	"context"
	"net/http"
	"strings"
	"time"

	"github.com/chandler-broker/chandler/services"
)

// The marks of a project that is being emptied.
const (
	// Emptied is that of a project in which nothing can appear any more, because its resource was
	// found, or refused.
	Emptied = "an instance that Chandler is deleting"
	// searched begins the mark of a project without a resource, before the time of the search.
	searched = Emptied + ", empty at "
	// lateTime is how long a resource may take to appear whose creation was abandoned. A project
	// that is deleted before leaves it to nobody.
	lateTime = 10 * time.Second
)

// Refused reports whether a service, or the backend for it, has answered that it does not create a
// resource: none can appear, and SetMark may say so.
func Refused(err error) bool {
	_, rejected := services.IsRejected(err)
	status := Status(err)
	return rejected || status >= http.StatusBadRequest && status < http.StatusInternalServerError
}

// AwaitLate returns nil when nothing can appear in a project any more that is being emptied: its
// resource, such as "zone", was found, now or earlier, or none was for a while.
func (c *Cloud) AwaitLate(ctx context.Context, p *Project, resource string, found bool) error {
	if p.Mark == Emptied {
		return nil
	}
	if found {
		return c.SetMark(ctx, p, Emptied)
	}
	text, _ := strings.CutPrefix(p.Mark, searched)
	since, err := time.Parse(time.RFC3339, text)
	if err != nil {
		since = time.Now()
		if err := c.SetMark(ctx, p, searched+since.UTC().Format(time.RFC3339)); err != nil {
			return err
		}
	}
	if rest := lateTime - time.Since(since); rest > 0 {
		return services.NotYet(rest, "waiting for a "+resource+" whose creation was abandoned")
	}
	return nil
}
