package nats

import (
	"context"
	"reflect"
	"slices"
	"time"

	"github.com/nats-io/jwt/v2"

	"github.com/chandler-broker/chandler/services"
)

// account is an instance's account as the servers have it. Its JWT holds everything: the plan's
// limits, and for each binding a signing key whose role is the binding's name.
type account struct {
	b       *backend
	servers servers
	name    string // the Instance.Name
	public  string
	copier  string             // the signing key of the broker's own users
	claims  *jwt.AccountClaims // nil: no server has any
	current string             // the token of the claims as the servers have them
	// agreed says that all servers store and apply the same token.
	agreed bool
	// damaged says that a server has an empty or incomplete file of the account.
	damaged bool
}

// Tags of an account that is not for use.
const (
	unfinished = "chandler:unfinished" // being made
	ending     = "chandler:ending"     // being removed
)

// account asks the servers for an instance's account.
func (b *backend) account(ctx context.Context, instance string) (*account, error) {
	all, err := b.link.present(ctx)
	if err != nil {
		return nil, err
	}
	a := &account{b: b, servers: all, name: instance}
	if a.public, err = b.keys.account(instance); err != nil {
		return nil, err
	}
	if _, a.copier, err = b.keys.copier(instance); err != nil {
		return nil, err
	}
	tokens, err := b.link.lookup(ctx, all, a.public)
	if err != nil {
		return nil, err
	}
	damaged := a.take(tokens)
	if damaged || a.claims == nil {
		return a, a.rescue(ctx, damaged)
	}
	a.agreed = len(slices.Compact(tokens)) == 1
	if a.agreed {
		// A killed broker may just have sent the token: servers that store it may not apply it.
		a.agreed, err = b.link.inSync(ctx, all, a.public, tokens[0])
	}
	return a, err
}

// take makes the newest token the account's claims, and says whether some are damaged.
func (a *account) take(tokens []string) (damaged bool) {
	for _, token := range tokens {
		claims, err := jwt.DecodeAccountClaims(token)
		if token != "" && err != nil {
			damaged = true
		}
		if err == nil && (a.claims == nil || claims.IssuedAt > a.claims.IssuedAt) {
			a.claims, a.current = claims, token
		}
	}
	return damaged
}

// rescue looks for the account in the servers' memory. A server whose disk is full damages the
// account's file on a change, but still admits the bindings. A removed account is marked as ending.
func (a *account) rescue(ctx context.Context, damaged bool) error {
	applied, err := a.b.link.applied(ctx, a.servers, a.public)
	if err != nil {
		return err
	}
	a.take(applied)
	if a.claims != nil && !damaged && a.claims.Tags.Contains(ending) {
		a.claims = nil
	}
	a.damaged = damaged
	return nil
}

// usable says whether the account is there and finished.
func (a *account) usable() bool {
	return a.claims != nil && !a.claims.Tags.Contains(unfinished) && !a.claims.Tags.Contains(ending)
}

// create makes the claims of an account that is not usable yet.
func (a *account) create() {
	a.claims = jwt.NewAccountClaims(a.public)
	a.claims.Name = a.b.keys.prefix + a.name
	a.claims.Tags.Add(unfinished)
}

// copyable says that the account admits the broker's own users. One that an earlier version made
// does so after its next change.
func (a *account) copyable() bool {
	_, ok := a.claims.SigningKeys[a.copier]
	return ok
}

// limit sets the plan's limits and says whether that changes them.
func (a *account) limit(p Plan) (changed bool) {
	previous := a.claims.Limits
	a.claims.Limits = p.limits()
	return !reflect.DeepEqual(previous, a.claims.Limits)
}

// scope returns a binding's signing key with its rights; nil if there is none.
func (a *account) scope(binding string) *jwt.UserScope {
	for _, scope := range a.claims.SigningKeys {
		if s, ok := scope.(*jwt.UserScope); ok && s.Role == binding {
			return s
		}
	}
	return nil
}

// admit makes key the binding's signing key, and returns since when it is. That is stored with the
// key, because the user's JWT contains it and must be the same at each call.
func (a *account) admit(binding, key string, may jwt.UserPermissionLimits) (since time.Time, changed bool) {
	if s := a.scope(binding); s != nil && s.Key == key {
		if since, err := time.Parse(time.RFC3339, s.Description); err == nil {
			changed = !reflect.DeepEqual(s.Template, may)
			s.Template = may
			return since, changed
		}
	}
	a.expel(binding)
	since = time.Now().UTC().Truncate(time.Second)
	scope := jwt.NewUserScope()
	scope.Key, scope.Role, scope.Template, scope.Description = key, binding, may, since.Format(time.RFC3339)
	a.claims.SigningKeys.AddScopedSigner(scope)
	return since, true
}

// expel removes a binding's signing keys and says whether there were any.
func (a *account) expel(binding string) (changed bool) {
	for s := a.scope(binding); s != nil; s = a.scope(binding) {
		a.claims.SigningKeys.Remove(s.Key)
		changed = true
	}
	return changed
}

// signed is the account's JWT, newer than the one that the servers have.
func (a *account) signed() (string, error) {
	a.claims.Type, a.claims.Version = jwt.AccountClaim, version
	if !a.claims.Tags.Contains(ending) {
		a.claims.SigningKeys.Add(a.copier)
	}
	return sign(a.claims, max(time.Now().Unix(), a.claims.IssuedAt+1), a.b.keys.operator)
}

// push signs the claims and gives them to all servers.
func (a *account) push(ctx context.Context) error {
	token, err := a.signed()
	if err != nil {
		return err
	}
	conn, err := a.b.link.get(ctx)
	if err != nil {
		return err
	}
	if limit := conn.MaxPayload(); int64(len(token)) > limit {
		return services.Rejected("the instance's bindings name more subjects than the server takes in one account (%s); unbind some, or give them fewer subjects", services.Size(limit))
	}
	if err := a.b.link.push(ctx, a.servers, token); err != nil {
		if services.IsOutOfCapacity(err) {
			a.putBack(ctx)
		}
		return err
	}
	// A server that gets a token twice answers at once, while it still applies the first.
	inSync, err := a.b.link.inSync(ctx, a.servers, a.public, token)
	if err == nil && !inSync {
		err = services.NotYet(50*time.Millisecond, "the servers are activating the account")
	}
	return err
}

// putBack sends a server without room for the new JWT the old one, which fits: the server has
// truncated the file, and would lose the account at its next start. In a cluster others have it.
func (a *account) putBack(ctx context.Context) {
	old, err := jwt.DecodeAccountClaims(a.current)
	if err != nil || len(a.servers) > 1 { // a new account, or a cluster
		return
	}
	token, err := sign(old, a.claims.IssuedAt+1, a.b.keys.operator)
	if err == nil {
		_ = a.b.link.push(ctx, a.servers, token) // the caller's error says why
	}
}
