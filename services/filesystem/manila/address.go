package manila

import (
	"context"
	"net/netip"
	"slices"
	"strings"

	"github.com/chandler-broker/chandler/services"
)

// The largest networks that a binding can name in a plan without networks. A network for everyone
// would do without a binding.
const (
	widestIPv4 = 16
	widestIPv6 = 48
)

// checkAddress checks a binding's address against its plan.
func checkAddress(p Plan, address string) error {
	switch {
	case p.Protocol != NFS && address != "":
		return services.Rejected("parameters.address: shares of this plan are protected by a key, not by address: leave it out")
	case p.Protocol != NFS:
		return nil
	case address == "":
		return services.Rejected("parameters.address: is missing: shares of this plan admit clients by address: give the application's address, such as 10.0.3.17, or its network, such as 10.0.3.0/24")
	}
	n, err := network(address)
	if err != nil {
		return services.Rejected("parameters.address: %s", err)
	}
	if len(p.Networks) > 0 {
		inside := func(text string) bool {
			allowed, err := network(text)
			return err == nil && allowed.Bits() <= n.Bits() && allowed.Contains(n.Addr())
		}
		if !slices.ContainsFunc(p.Networks, inside) {
			return services.Rejected("parameters.address: must be in one of the plan's networks: %s", strings.Join(p.Networks, ", "))
		}
		return nil
	}
	if widest := widestOf(n); n.Bits() < widest {
		return services.Rejected("parameters.address: is too large a network: the plan allows networks of /%d and smaller", widest)
	}
	return nil
}

func widestOf(n netip.Prefix) int {
	if n.Addr().Is4() {
		return widestIPv4
	}
	return widestIPv6
}

// accessTo is an address as Manila's rules have it.
func accessTo(address string) string {
	n, err := network(address)
	if err != nil || n.IsSingleIP() {
		return n.Addr().String()
	}
	return n.String()
}

// byAddress returns the rule of a binding's address. NFS knows clients by nothing else, and Manila
// has one rule for an address, so bindings with the same address share one. Its metadata names
// them.
func (b *backend) byAddress(ctx context.Context, p project, share string, rules []rule, bd binding) (rule, error) {
	wanted, to := level(bd.Params.Role), accessTo(bd.Params.Address)
	for _, r := range rules { // of an earlier attempt with other parameters
		if slices.Contains(r.holders(), bd.Name) && (r.AccessTo != to || r.AccessLevel != wanted) {
			return r, p.withdraw(ctx, share, r, bd.Name)
		}
	}
	i := slices.IndexFunc(rules, func(r rule) bool { return r.AccessType == ip && r.AccessTo == to })
	if i < 0 {
		return rule{}, p.ask(ctx, share, grant{ip, to, wanted, map[string]string{bd.Name: wanted}})
	}
	r := rules[i]
	if r.AccessLevel != wanted && !r.leaving() {
		return r, services.Rejected("parameters.address: another binding of this instance has given %s the role %s, and NFS tells applications apart only by their addresses: use the same role, or another address", to, roleOf(r.AccessLevel))
	}
	if err := p.applied(ctx, share, r); err != nil {
		return r, err
	}
	if !slices.Contains(r.holders(), bd.Name) {
		return r, p.join(ctx, r.ID, bd.Name, wanted)
	}
	return r, nil
}

// withdraw ends a binding's use of a rule.
func (p project) withdraw(ctx context.Context, share string, r rule, binding string) error {
	if len(r.holders()) == 1 {
		return p.again(ctx, share, r)
	}
	if err := p.leave(ctx, r.ID, binding); err != nil {
		return err
	}
	return waitForRule()
}

func roleOf(level string) string {
	if level == "ro" {
		return "read_only"
	}
	return "read_write"
}
