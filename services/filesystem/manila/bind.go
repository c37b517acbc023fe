package manila

import (
	"context"
	"fmt"
	"maps"
	"slices"

	"github.com/gophercloud/gophercloud/v2/openstack/sharedfilesystems/v2/shares"

	"github.com/chandler-broker/chandler/services"
	"github.com/chandler-broker/chandler/services/access"
)

// Bind implements services.Backend.
func (b *backend) Bind(ctx context.Context, r services.BindRequest[Plan, InstanceParams, BindingParams]) (services.BindResult, error) {
	if err := checkAddress(r.Instance.Plan, r.Binding.Params.Address); err != nil {
		return services.BindResult{}, err
	}
	p, s, err := b.share(ctx, r.Instance.Name)
	if err != nil {
		return services.BindResult{}, err
	}
	if err := bindable(s); err != nil {
		return services.BindResult{}, err
	}
	rules, err := p.rules(ctx, s.ID)
	if err != nil {
		return services.BindResult{}, err
	}
	if err := b.checkBindings(r, rules); err != nil {
		return services.BindResult{}, err
	}
	use := b.byKey
	if r.Instance.Plan.Protocol == NFS {
		use = b.byAddress
	}
	granted, err := use(ctx, p, s.ID, rules, r.Binding)
	if err != nil {
		return services.BindResult{}, err
	}
	location, err := p.export(ctx, s.ID)
	if err != nil {
		return services.BindResult{}, err
	}
	credentials, err := b.credentials(r.Instance.Plan.Protocol, location, granted, r.Binding)
	return services.BindResult{Credentials: credentials}, err
}

// bindable is nil if Manila changes access to a share.
func bindable(s shares.Share) error {
	switch conditions[s.Status] {
	case usable, refused:
		return nil
	case changing:
		return services.NotYet(pollShare, "waiting until Manila has changed the share")
	case leaving:
		return errNoShare
	case failed, broken:
	}
	return brokenShare(s)
}

func (b *backend) checkBindings(r services.BindRequest[Plan, InstanceParams, BindingParams], rules []rule) error {
	others := map[string]bool{}
	for _, rule := range rules {
		for _, binding := range b.names.bindings(rule) {
			others[binding] = true
		}
	}
	delete(others, r.Binding.Name)
	if len(others) >= r.Instance.Plan.Bindings {
		return services.Rejected("this instance has %d bindings, and its plan allows %d: remove one, or choose a larger plan", len(others), r.Instance.Plan.Bindings)
	}
	return nil
}

// level is a role in Manila's word.
func level(r access.Role) string {
	if r == access.ReadOnly {
		return "ro"
	}
	return "rw"
}

// byKey returns the rule of a binding's cephx identity, whose key Ceph generates. The rule keeps
// the key, so that a repeated call returns the same.
func (b *backend) byKey(ctx context.Context, p project, share string, rules []rule, bd binding) (rule, error) {
	to := b.names.identity(bd.Name)
	i := slices.IndexFunc(rules, func(r rule) bool { return r.AccessType == cephx && r.AccessTo == to })
	if i < 0 {
		return rule{}, p.ask(ctx, share, grant{cephx, to, level(bd.Params.Role), map[string]string{bd.Name: level(bd.Params.Role)}})
	}
	r := rules[i]
	if r.AccessLevel != level(bd.Params.Role) {
		return r, p.again(ctx, share, r)
	}
	if err := p.applied(ctx, share, r); err != nil {
		return r, err
	}
	if r.AccessKey == "" {
		return r, waitForRule()
	}
	bd.Seed.Conceal(r.AccessKey)
	return r, nil
}

func waitForRule() error { return services.NotYet(pollRule, "waiting until Manila has granted access") }

// ask asks for a rule.
func (p project) ask(ctx context.Context, share string, g grant) error {
	if err := p.allow(ctx, share, g); err != nil {
		return err
	}
	return waitForRule()
}

// again denies a rule that the next call makes anew.
func (p project) again(ctx context.Context, share string, r rule) error {
	if !r.leaving() {
		if err := p.deny(ctx, share, r.ID); err != nil {
			return err
		}
	}
	return services.NotYet(pollRule, "waiting until Manila has withdrawn the binding's earlier access")
}

// applied is nil if a rule works. A rule that failed is removed: it would never work, and until
// then Manila reports the access to the whole share as failed.
func (p project) applied(ctx context.Context, share string, r rule) error {
	switch {
	case r.State == "active":
		return nil
	case r.leaving():
		return p.again(ctx, share, r)
	case r.State != "error":
		return waitForRule()
	}
	reason := "its log says why; if another tenant of the Ceph cluster has this identity, remove it there"
	if list, err := p.messages(ctx, share); err == nil && len(list) > 0 {
		reason = list[0].UserMessage
	}
	if err := p.deny(ctx, share, r.ID); err != nil {
		return err
	}
	return fmt.Errorf("Manila could not grant access to %s: %s", r.AccessTo, reason) //nolint:staticcheck // a name
}

func (r rule) leaving() bool { return r.State == "queued_to_deny" || r.State == "denying" }

// holders are the Binding.Names in a rule's metadata.
func (r rule) holders() []string {
	var names []string
	for _, key := range slices.Sorted(maps.Keys(r.Metadata)) {
		if name, ok := safe.Instance(key); ok {
			names = append(names, name)
		}
	}
	return names
}

// Unbind implements services.Backend. Manila removes the cephx identity and ends its sessions, or
// withdraws the access of the address, unless another binding has the same.
func (b *backend) Unbind(ctx context.Context, r services.UnbindRequest[Plan, InstanceParams, BindingParams]) (services.UnbindResult, error) {
	p, s, err := b.share(ctx, r.Instance.Name)
	if absent(err) {
		return services.UnbindResult{}, nil
	}
	if err != nil {
		return services.UnbindResult{}, err
	}
	rules, err := p.rules(ctx, s.ID)
	if err != nil {
		return services.UnbindResult{}, err
	}
	waiting := false
	for _, rule := range rules {
		if !slices.Contains(b.names.bindings(rule), r.Binding.Name) {
			continue
		}
		if len(b.names.bindings(rule)) > 1 && !rule.leaving() {
			if err := p.leave(ctx, rule.ID, r.Binding.Name); err != nil {
				return services.UnbindResult{}, err
			}
			continue
		}
		waiting = true
		if !rule.leaving() {
			if err := p.deny(ctx, s.ID, rule.ID); err != nil {
				return services.UnbindResult{}, err
			}
		}
	}
	if waiting {
		return services.UnbindResult{}, services.NotYet(pollRule, "waiting until Manila has withdrawn the access")
	}
	return services.UnbindResult{}, nil
}
