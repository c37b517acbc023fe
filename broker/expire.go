package broker

import (
	"time"

	"code.cloudfoundry.org/brokerapi/v13/domain"

	"github.com/chandler-broker/chandler/broker/store"
)

// bindingTerm is how long a binding that is made now will be good for, nil for good,
// and by when it should be replaced (OSB, "Binding Metadata Object").
func (b *Broker) bindingTerm(i store.Instance) (expiresAt, renewBefore *time.Time, err error) {
	plan, err := b.planOf(i)
	if err != nil || plan.BindingLifetime == 0 {
		return nil, nil, err
	}
	// Whole seconds: the platform is told tenths.
	end := time.Now().Add(plan.BindingLifetime).Truncate(time.Second)
	if plan.BindingRenewBefore > 0 {
		renew := end.Add(-plan.BindingRenewBefore)
		renewBefore = &renew
	}
	return &end, renewBefore, nil
}

func metadata(have store.Binding) domain.BindingMetadata {
	return domain.BindingMetadata{ExpiresAt: format(have.ExpiresAt, withFraction), RenewBefore: format(have.RenewBefore, withFraction)}
}

// withFraction is the form of the specification's times.
const withFraction = "2006-01-02T15:04:05.0Z"

func rfc3339(t *time.Time) string { return format(t, time.RFC3339) }

func format(t *time.Time, layout string) string {
	if t == nil {
		return ""
	}
	return t.UTC().Format(layout)
}

// expiredError is the answer to a bind under the ID of a binding whose lifetime is
// over: its credentials are not handed out any more.
func expiredError(have store.Binding) error {
	return fail(Conflict, "the binding expired at %s and its credentials are revoked; "+
		"create another one, which may name this one as its predecessor, and delete this one", rfc3339(have.ExpiresAt))
}
