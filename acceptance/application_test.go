package acceptance_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"time"

	"github.com/chandler-broker/chandler/services"
)

// tryTime is how long an application waits for a server. RabbitMQ refuses a login
// after 3 s.
const tryTime = 15 * time.Second

// use opens a session as an application does, with one round trip.
func (o *offer) use(ctx context.Context, b *heldBinding, then func(context.Context, services.Session) error) (err error) {
	ctx, cancel := context.WithTimeout(ctx, tryTime)
	defer cancel()
	defer func() {
		if err != nil {
			err = errors.Join(err, ctx.Err()) // some clients' errors do not mention the timeout
		}
	}()
	session, err := o.dial(ctx, b.credentials)
	if err != nil {
		return err
	}
	defer session.Close()
	if err := session.Ping(ctx); err != nil || then == nil {
		return err
	}
	return then(ctx, session)
}

// tryOut returns an error if credentials do not work.
func (o *offer) tryOut(ctx context.Context, b *heldBinding) error { return o.use(ctx, b, nil) }

// received records new credentials and tries them immediately.
func (p *platform) received(ctx context.Context, i *heldInstance, b *heldBinding) error {
	if err := p.d.Secrets.AddCredentials("binding "+b.id, b.credentials); err != nil {
		return fmt.Errorf("binding %s: %w", b.id, err)
	}
	_ = p.d.SeedSecret(ctx, i.id, b.id) // Vault may be unavailable
	return p.works(ctx, i, b, p.load(i, b))
}

// works uses credentials; only an outage may prevent them from working.
func (p *platform) works(ctx context.Context, i *heldInstance, b *heldBinding, then func(context.Context, services.Session) error) error {
	var last error
	began := time.Now()
	err := p.until(ctx, "use "+b.id, func(ctx context.Context) (bool, error) {
		before := p.offer.breaks.Load()
		last = p.offer.use(ctx, b, then)
		if last == nil {
			return true, nil
		}
		undisturbed := before%2 == 0 && p.offer.breaks.Load() == before
		if !undisturbed {
			began = time.Now()
		}
		if undisturbed && !slow(last) && !errors.Is(last, errLoad) && (!p.offer.closes(last) || time.Since(began) > closedTime) {
			return false, fmt.Errorf("credentials of instance %s do not work although its server has no fault: %w", i.id, last)
		}
		return false, nil
	})
	return errors.Join(err, last)
}

// closedTime is more than a zone is closed while its keys change, on a busy machine.
const closedTime = 10 * time.Second

// closes reports whether an answer may be due to a change of another binding's key: PowerDNS
// refuses all updates of a zone meanwhile.
func (o *offer) closes(err error) bool {
	return o.backend == "powerdns" && strings.Contains(err.Error(), "REFUSED")
}

// slow reports whether an answer was late: clients have timeouts of their own, such as
// the two seconds of DNS, which a busy machine exceeds.
func slow(err error) bool {
	network, ok := errors.AsType[net.Error](err)
	return errors.Is(err, context.DeadlineExceeded) || ok && network.Timeout()
}

// errLoad means that a server accepted a login and refused a write. A busy server may
// do so for a moment: PowerDNS answers SERVFAIL to one of two simultaneous updates.
var errLoad = errors.New("write")

// load writes data into the instance once, which must stay as long as the instance
// exists. nil: there is nothing to write.
func (p *platform) load(i *heldInstance, b *heldBinding) func(context.Context, services.Session) error {
	if b.reader || i.cargo != "" {
		return nil
	}
	return func(ctx context.Context, s services.Session) error {
		if err := s.Write(ctx, p.cargoKey(), i.id); err != nil {
			return fmt.Errorf("%w: %w", errLoad, err)
		}
		i.cargo = i.id
		return nil
	}
}

// cargoKey is this platform's key, in an instance that it may share with others.
func (p *platform) cargoKey() string { return fmt.Sprintf("cargo-%d", p.number) }

// unload reads what load wrote, through any binding that may write too.
func (p *platform) unload(i *heldInstance, b *heldBinding) func(context.Context, services.Session) error {
	if b.reader || i.cargo == "" {
		return nil
	}
	return func(ctx context.Context, s services.Session) error {
		value, err := s.Read(ctx, p.cargoKey())
		if err != nil {
			return fmt.Errorf("read earlier data: %w", err)
		}
		if value != i.cargo {
			return errors.New("the data that was read differs from the data that was written")
		}
		return nil
	}
}
