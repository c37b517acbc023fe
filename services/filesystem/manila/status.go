package manila

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/gophercloud/gophercloud/v2/openstack/sharedfilesystems/v2/messages"
	"github.com/gophercloud/gophercloud/v2/openstack/sharedfilesystems/v2/shares"

	"github.com/chandler-broker/chandler/services"
)

const (
	// pollShare and pollRule are how long Manila usually takes.
	pollShare = 500 * time.Millisecond
	pollRule  = 250 * time.Millisecond
)

// condition is what a status of a share or snapshot means.
type condition int

const (
	// broken needs an administrator of the cloud.
	broken condition = iota
	// usable has its files, and takes changes.
	usable
	// changing becomes usable or failed by itself.
	changing
	// leaving is being deleted.
	leaving
	// failed was never made, or can be deleted.
	failed
	// refused is usable but for a shrinking that Manila refused.
	refused
)

// conditions are those of the statuses in the API reference, "Shares", "Share status". Others are
// broken.
var conditions = map[string]condition{
	"":          changing, // Manila is between two records of one that it makes or deletes
	"available": usable, "inactive": usable,
	"creating": changing, "creating_from_snapshot": changing, "extending": changing, "shrinking": changing, "migrating": changing,
	"migrating_to": changing, "replication_change": changing, "reverting": changing, "restoring": changing, "manage_starting": changing,
	"unmanage_starting": changing, "awaiting_transfer": changing, "backup_creating": changing, "backup_restoring": changing,
	"deleting": leaving, "unmanaging": leaving, "unmanaged": leaving,
	"error":                              failed,
	"shrinking_possible_data_loss_error": refused,
}

// brokenShare is the error for a share that only an administrator can repair.
func brokenShare(s shares.Share) error {
	return fmt.Errorf("share %s has the status %s, which a member of its project cannot leave: find the reason in Manila's log, and then set the status (openstack share set --status available %[1]s)", s.ID, s.Status)
}

// The codes of messages (Manila's message_field.py).
const (
	actionPlace   = "001" // "allocate host"
	actionShrink  = "009"
	refusedShrink = "018"
)

// failure is why Manila could not make a share, in its own words. If no back end is left, these name
// only the last of the scheduler's filters, and not the one that needed more space.
func (p project) failure(ctx context.Context, share string) error {
	list, err := p.messages(ctx, share)
	if err != nil {
		return err
	}
	if len(list) == 0 {
		return fmt.Errorf("Manila could not create share %s and does not say why: see its log", share) //nolint:staticcheck // a name
	}
	said := fmt.Errorf("Manila could not create share %s: %s", share, list[0].UserMessage) //nolint:staticcheck // a name
	if list[0].ActionID == actionPlace {
		return services.OutOfCapacity(fmt.Errorf("no back end has enough space for the share, or none has the share type's extra specs: %w", said))
	}
	return said
}

// refusals are the messages that say that a share is too full to shrink.
func (p project) refusals(ctx context.Context, share string) ([]messages.Message, error) {
	list, err := p.messages(ctx, share)
	return slices.DeleteFunc(list, func(m messages.Message) bool {
		return m.ActionID != actionShrink || m.DetailID != refusedShrink
	}), err
}

// forget deletes messages.
func (p project) forget(ctx context.Context, list []messages.Message) error {
	var errs []error
	for _, m := range list {
		errs = append(errs, explain("delete Manila's message", messages.Delete(ctx, p.client, m.ID).ExtractErr()))
	}
	return errors.Join(errs...)
}
