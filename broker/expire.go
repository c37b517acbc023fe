package broker

import (
	"time"

	"code.cloudfoundry.org/brokerapi/v13/domain"

	"github.com/chandler-broker/chandler/broker/catalog"
	"github.com/chandler-broker/chandler/broker/store"
)

// bindingTerm returns when a binding that is made now expires, nil for never, and by when
// it should be replaced (OSB, "Binding Metadata Object").
func bindingTerm(plan *catalog.Plan) (expiresAt, renewBefore *time.Time) {
	if plan.BindingLifetime == 0 {
		return nil, nil
	}
	// Whole seconds: answers have tenths.
	end := time.Now().Add(plan.BindingLifetime).Truncate(time.Second)
	if plan.BindingRenewBefore > 0 {
		renew := end.Add(-plan.BindingRenewBefore)
		renewBefore = &renew
	}
	return &end, renewBefore
}

func metadata(have store.Binding) BindingMetadata {
	return BindingMetadata{BindingMetadata: domain.BindingMetadata{ExpiresAt: rfc3339(have.ExpiresAt), RenewBefore: rfc3339(have.RenewBefore)}}
}

// rfc3339 formats a time as the specification does, with a fraction.
func rfc3339(t *time.Time) string {
	if t == nil {
		return ""
	}
	return t.UTC().Format("2006-01-02T15:04:05.0Z")
}

// expiredError answers a bind under the ID of an expired binding.
func expiredError(have store.Binding) error {
	return fail(Conflict, "the binding expired at %s and its credentials are revoked; "+
		"create another one, which may name this one as its predecessor, and delete this one", rfc3339(have.ExpiresAt))
}
