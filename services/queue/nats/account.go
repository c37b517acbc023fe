package nats

import (
	"context"
	"reflect"
	"slices"
	"time"

	"github.com/nats-io/jwt/v2"

	"github.com/chandler-broker/chandler/services"
)

// account is an instance's account as the servers have it. All that is known of
// an instance and its bindings is in the account's JWT: the plan's limits, and
// for each binding a signing key with the binding's name as its role.
type account struct {
	b      *backend
	there  servers
	name   string // the Instance.Name
	public string
	claims *jwt.AccountClaims // nil: no server has any
	had    string             // the token of the claims as the servers have them
	// agreed says that all servers have the same and act on it. Where they do
	// not, what is pushed next makes them.
	agreed bool
	// damaged says that a server has a file of the account that holds none.
	damaged bool
}

// settling is when to look again whether servers act on what they took.
const settling = 50 * time.Millisecond

// Tags of an account that is not for use.
const (
	unfinished = "chandler:unfinished" // being made
	ending     = "chandler:ending"     // being removed
)

// account asks the servers for an instance's account.
func (b *backend) account(ctx context.Context, instance string) (*account, error) {
	there, err := b.link.present(ctx)
	if err != nil {
		return nil, err
	}
	a := &account{b: b, there: there, name: instance}
	if a.public, err = b.keys.account(instance); err != nil {
		return nil, err
	}
	tokens, err := b.link.lookup(ctx, there, a.public)
	if err != nil {
		return nil, err
	}
	damaged := a.take(tokens)
	if damaged || a.claims == nil {
		return a, a.rescue(ctx, damaged)
	}
	a.agreed = len(slices.Compact(tokens)) == 1
	if a.agreed {
		// A broker that was killed may have given the order a moment ago: who
		// finds it in the servers' files must not answer for it while they
		// still let in whom it shuts out.
		a.agreed, err = b.link.acts(ctx, there, a.public, tokens[0])
	}
	return a, err
}

// take makes the newest of the tokens the account's claims, and says whether
// there are some that are no account's.
func (a *account) take(tokens []string) (damaged bool) {
	for _, token := range tokens {
		claims, err := jwt.DecodeAccountClaims(token)
		if token != "" && err != nil {
			damaged = true
		}
		if err == nil && (a.claims == nil || claims.IssuedAt > a.claims.IssuedAt) {
			a.claims, a.had = claims, token
		}
	}
	return damaged
}

// rescue looks for the account in the servers' memory. One whose disk is full
// empties or cuts off the file of the account that it is told to change, and
// goes on with what it knew: bindings that it still lets in are not gone. An
// account that was removed may be in memory too, as one that is ending.
func (a *account) rescue(ctx context.Context, damaged bool) error {
	used, err := a.b.link.inUse(ctx, a.there, a.public)
	if err != nil {
		return err
	}
	a.take(used)
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

// create makes the claims of an account that nobody may use yet.
func (a *account) create() {
	a.claims = jwt.NewAccountClaims(a.public)
	a.claims.Name = a.b.keys.prefix + a.name
	a.claims.Tags.Add(unfinished)
}

// limit sets the plan's limits and says whether they were others.
func (a *account) limit(p Plan) (changed bool) {
	was := a.claims.Limits
	a.claims.Limits = p.limits()
	return !reflect.DeepEqual(was, a.claims.Limits)
}

// scope returns the signing key that stands for a binding, with its rights; nil:
// none.
func (a *account) scope(binding string) *jwt.UserScope {
	for _, scope := range a.claims.SigningKeys {
		if s, ok := scope.(*jwt.UserScope); ok && s.Role == binding {
			return s
		}
	}
	return nil
}

// admit makes key the one that stands for a binding. It returns since when, and
// whether that changed anything. The time is kept with the key, because the
// user's JWT has it and must be the same at each call.
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

// expel removes what stands for a binding and says whether there was anything.
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
	if err := a.b.link.push(ctx, a.there, token); err != nil {
		if services.IsOutOfCapacity(err) {
			a.putBack(ctx)
		}
		return err
	}
	// Usually they do by now. But who is given the very same a second time
	// answers at once, while he still takes the first into use.
	acts, err := a.b.link.acts(ctx, a.there, a.public, token)
	if err == nil && !acts {
		err = services.NotYet(settling, "the servers are taking the account into use")
	}
	return err
}

// putBack gives a server that has no room for an account's new JWT the old one
// again, for which there was: it has cut off the file, and would not know the
// account after its next start. Servers of a cluster have it from each other. If
// this fails the server's memory is left, see rescue.
func (a *account) putBack(ctx context.Context) {
	old, err := jwt.DecodeAccountClaims(a.had)
	if err != nil || len(a.there) > 1 { // a new account, or a cluster
		return
	}
	token, err := sign(old, a.claims.IssuedAt+1, a.b.keys.operator)
	if err == nil {
		_ = a.b.link.push(ctx, a.there, token) // the error of the caller tells
	}
}
