package manila

import (
	"context"
	"net/http"

	"github.com/gophercloud/gophercloud/v2/openstack/sharedfilesystems/v2/shares"

	"github.com/chandler-broker/chandler/services"
	"github.com/chandler-broker/chandler/services/openstack"
)

// Update implements services.Backend.
func (b *backend) Update(ctx context.Context, r services.UpdateRequest[Plan, InstanceParams]) (services.UpdateResult, error) {
	p, s, err := b.share(ctx, r.Instance.Name)
	if err != nil {
		return services.UpdateResult{}, err
	}
	return services.UpdateResult{}, p.resize(ctx, s, size(r.Previous), size(r.Instance))
}

// resize is nil if the share has its new size.
func (p project) resize(ctx context.Context, s shares.Share, previous, next int) error {
	switch conditions[s.Status] {
	case changing:
		return services.NotYet(pollShare, "waiting until Manila has changed the share")
	case refused:
		if next < s.Size {
			return tooFull(next)
		}
		return p.recover(ctx, s, previous)
	case usable:
	default:
		return brokenShare(s)
	}
	switch {
	case s.Size < next:
		if err := p.extendOnce(ctx, s.ID, next); err != nil {
			return err
		}
	case s.Size > next:
		if err := p.shrinkOnce(ctx, s.ID, next); err != nil {
			return err
		}
	case previous < next: // possibly the undo of a shrinking that Manila refused
		list, err := p.refusals(ctx, s.ID)
		if err != nil {
			return err
		}
		return p.forget(ctx, list)
	default:
		return nil
	}
	return services.NotYet(pollShare, "waiting until Manila has changed the share's size")
}

// extendOnce extends a share unless it has just been extended.
func (p project) extendOnce(ctx context.Context, share string, next int) error {
	return p.unlessDone(ctx, share, next, p.extend(ctx, share, next))
}

// unlessDone is err, or nil if Manila refuses a size that the share already has: it reads a share's
// size before its status, and may change both in between.
func (p project) unlessDone(ctx context.Context, share string, size int, err error) error {
	if openstack.Status(err) == http.StatusBadRequest {
		if now, gone := shares.Get(ctx, p.client, share).Extract(); gone == nil && now.Size == size {
			return nil
		}
	}
	return err
}

// shrinkOnce shrinks a share unless Manila has just refused that: it says so in a message, and
// the share is as before.
func (p project) shrinkOnce(ctx context.Context, share string, next int) error {
	list, err := p.refusals(ctx, share)
	if err != nil {
		return err
	}
	if len(list) == 0 {
		return p.unlessDone(ctx, share, next, p.shrink(ctx, share, next))
	}
	if err := p.forget(ctx, list); err != nil {
		return err
	}
	return tooFull(next)
}

func tooFull(next int) error {
	return services.Rejected("the share holds more than %d GB, so it cannot shrink to that: delete files first (df on a mounted share shows how much they take), or choose a larger size", next)
}

// recover ends the state in which older releases of Manila leave a share that is too full to
// shrink: there, they only allow shrinking. The next call extends the share again.
func (p project) recover(ctx context.Context, s shares.Share, refused int) error {
	if s.Size-1 <= refused {
		return brokenShare(s)
	}
	if err := p.shrink(ctx, s.ID, s.Size-1); err != nil {
		return err
	}
	return services.NotYet(pollShare, "waiting until Manila has restored the share's size")
}
