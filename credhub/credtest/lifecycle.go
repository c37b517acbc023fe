package credtest

import (
	"context"
	"fmt"

	"github.com/chandler-broker/chandler/credhub"
)

func isReady(ctx context.Context, s credhub.Store) error { return s.Ready(ctx) }

func getsNothing(ctx context.Context, s credhub.Store) error {
	return holdsNothing(ctx, s, fresh())
}

func putsAndGets(ctx context.Context, s credhub.Store) error {
	path, v := fresh(), value()
	for range 2 { // the same again, as after a lost answer
		if err := s.Put(ctx, path, v); err != nil {
			return fmt.Errorf("Put: %w", err)
		}
		if err := holds(ctx, s, path, v); err != nil {
			return err
		}
	}
	return nil
}

func putReplaces(ctx context.Context, s credhub.Store) error {
	path := fresh()
	for range 3 {
		v := value()
		if err := s.Put(ctx, path, v); err != nil {
			return fmt.Errorf("Put: %w", err)
		}
		if err := holds(ctx, s, path, v); err != nil {
			return err
		}
	}
	return nil
}

func ensureCreatesOnce(ctx context.Context, s credhub.Store) error {
	path, first := fresh(), value()
	for _, v := range [][]byte{first, first, value()} {
		got, err := s.Ensure(ctx, path, v)
		if err != nil {
			return fmt.Errorf("Ensure: %w", err)
		}
		if err := equal("Ensure", first, got); err != nil {
			return err
		}
	}
	return holds(ctx, s, path, first)
}

func ensureKeeps(ctx context.Context, s credhub.Store) error {
	path, v := fresh(), value()
	if err := s.Put(ctx, path, v); err != nil {
		return fmt.Errorf("Put: %w", err)
	}
	got, err := s.Ensure(ctx, path, value())
	if err != nil {
		return fmt.Errorf("Ensure: %w", err)
	}
	return equal("Ensure", v, got)
}

func deletes(ctx context.Context, s credhub.Store) error {
	path := fresh()
	if err := s.Delete(ctx, path); err != nil {
		return fmt.Errorf("Delete of nothing: %w", err)
	}
	if err := s.Put(ctx, path, value()); err != nil {
		return fmt.Errorf("Put: %w", err)
	}
	for range 2 {
		if err := s.Delete(ctx, path); err != nil {
			return fmt.Errorf("Delete: %w", err)
		}
		if err := holdsNothing(ctx, s, path); err != nil {
			return err
		}
	}
	return nil
}

// deletesEveryVersion also shows that a deleted path is as good as new: an old
// value that came back would give a new binding an old one's password.
func deletesEveryVersion(ctx context.Context, s credhub.Store) error {
	path := fresh()
	for range 3 {
		if err := s.Put(ctx, path, value()); err != nil {
			return fmt.Errorf("Put: %w", err)
		}
	}
	if err := s.Delete(ctx, path); err != nil {
		return fmt.Errorf("Delete: %w", err)
	}
	if err := holdsNothing(ctx, s, path); err != nil {
		return err
	}
	v := value()
	got, err := s.Ensure(ctx, path, v)
	if err != nil {
		return fmt.Errorf("Ensure after Delete: %w", err)
	}
	if err := equal("Ensure after Delete", v, got); err != nil {
		return err
	}
	return holds(ctx, s, path, v)
}

// deletesOneAlone deletes a binding's seed beside its credentials, and beside
// another binding.
func deletesOneAlone(ctx context.Context, s credhub.Store) error {
	kept := map[credhub.Path][]byte{
		credhub.CredentialsPath("instance", "first"): value(),
		credhub.SeedPath("instance", "second"):       value(),
	}
	for path, v := range kept {
		if err := s.Put(ctx, path, v); err != nil {
			return fmt.Errorf("Put: %w", err)
		}
	}
	gone := credhub.SeedPath("instance", "first")
	if err := s.Put(ctx, gone, value()); err != nil {
		return fmt.Errorf("Put: %w", err)
	}
	if err := s.Delete(ctx, gone); err != nil {
		return fmt.Errorf("Delete: %w", err)
	}
	for path, v := range kept {
		if err := holds(ctx, s, path, v); err != nil {
			return err
		}
		if err := s.Delete(ctx, path); err != nil {
			return fmt.Errorf("Delete: %w", err)
		}
	}
	return holdsNothing(ctx, s, gone)
}
