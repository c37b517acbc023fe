package server

import (
	"context"
	"errors"
	"fmt"

	"github.com/chandler-broker/chandler/functions/feed"
	"github.com/chandler-broker/chandler/functions/openwhisk"
)

// firer is the API as feeds see it: each has its own words for events, so that
// neither imports the other.
type firer struct{ api *openwhisk.API }

// Fire implements feed.Firer.
func (f firer) Fire(ctx context.Context, e feed.Event) (feed.Fired, error) {
	fired, err := f.api.Fire(ctx, openwhisk.Event(e))
	for _, same := range []struct{ theirs, ours error }{
		{openwhisk.ErrNoTrigger, feed.ErrNoTrigger}, {openwhisk.ErrTooLarge, feed.ErrTooLarge}, {openwhisk.ErrThrottled, feed.ErrThrottled},
	} {
		if errors.Is(err, same.theirs) {
			err = fmt.Errorf("%w: %w", same.ours, err)
		}
	}
	return feed.Fired(fired), err
}
