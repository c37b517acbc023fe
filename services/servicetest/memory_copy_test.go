package servicetest_test

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/chandler-broker/chandler/services"
)

const memoryFormat = "memory-1"

// entry is a key in a copy, which ends with an empty one. Base says that the base has this value.
type entry struct{ Key, Value, Base string }

func (m *memory) Increments() bool { return true }

func sumOf(value string) string { return fmt.Sprintf("%x", sha256.Sum256([]byte(value))) }

// eachEntry reads a copy to its end.
func eachEntry(r io.Reader, do func(entry) error) error {
	in := json.NewDecoder(r)
	for {
		var e entry
		if err := in.Decode(&e); err != nil {
			return fmt.Errorf("read the copy: %w", err)
		}
		if e.Key == "" {
			_, err := io.Copy(io.Discard, r)
			return err
		}
		if err := do(e); err != nil {
			return err
		}
	}
}

// sumsOf reads the sums of the values that a base has.
func sumsOf(ctx context.Context, base *services.BaseCopy) (map[string]string, error) {
	sums := map[string]string{}
	if base == nil {
		return sums, nil
	}
	return sums, base.Read(ctx, func(r io.Reader) error {
		return eachEntry(r, func(e entry) error {
			if e.Base == "" {
				e.Base = sumOf(e.Value)
			}
			sums[e.Key] = e.Base
			return nil
		})
	})
}

// Backup marks the instance while it copies, as other backends take a snapshot or grant rights.
func (m *memory) Backup(ctx context.Context, r services.BackupRequest[plan, params]) (services.Contents, error) {
	n := m.name(r.Instance)
	if _, err := m.do(ctx, "put", "snapshot/"+n, "x"); err != nil {
		return services.Contents{}, err
	}
	contents, err := m.copy(ctx, n, r)
	if err != nil && m.has(flawStays) {
		return services.Contents{}, err
	}
	_, gone := m.do(context.WithoutCancel(ctx), "delete", "snapshot/"+n, "")
	return contents, errors.Join(err, gone)
}

func (m *memory) copy(ctx context.Context, n string, r services.BackupRequest[plan, params]) (services.Contents, error) {
	contents := services.Contents{Format: memoryFormat}
	out := json.NewEncoder(r.Writer)
	prefix := "data/" + n + "/"
	base, err := sumsOf(ctx, r.Base)
	if err != nil {
		return contents, err
	}
	keys, err := m.do(ctx, "list", prefix, "")
	if err != nil {
		return contents, err
	}
	contents.Counts = map[string]int64{"keys": int64(len(keys))}
	if m.has(flawCredentials) {
		accounts, err := m.do(ctx, "list", "binding/"+n+"/", "")
		if err != nil {
			return contents, err
		}
		for _, key := range accounts {
			answer, err := do(ctx, m.config.Address, request{Op: "get", Token: m.config.Token, Key: key})
			if err := errors.Join(err, out.Encode(entry{Key: key, Value: answer.Value})); err != nil {
				return contents, err
			}
		}
	}
	for i, key := range keys {
		if i == 0 && m.has(flawIncomplete) {
			continue
		}
		answer, err := do(ctx, m.config.Address, request{Op: "get", Token: m.config.Token, Key: key})
		if err != nil {
			return contents, err
		}
		e := entry{Key: strings.TrimPrefix(key, prefix), Value: answer.Value}
		if sum := base[e.Key]; sum != "" && (sum == sumOf(e.Value) || m.has(flawStale)) {
			contents.Incremental = true
			e.Value, e.Base = "", sum
		}
		if err := out.Encode(e); err != nil {
			return contents, err
		}
	}
	return contents, out.Encode(entry{})
}

func (m *memory) Restore(ctx context.Context, r services.RestoreRequest[plan, params]) (result services.RestoreResult, err error) {
	if r.Contents.Format != memoryFormat && !m.has(flawForeign) {
		return result, services.Rejected("the backup has the format %q: only %q can be restored", r.Contents.Format, memoryFormat)
	}
	wanted := map[string]string{}
	take := func(e entry) error {
		if e.Base != "" {
			wanted[e.Key] = e.Base
			return nil
		}
		_, err := m.do(ctx, "put", "data/"+m.name(r.Instance)+"/"+e.Key, e.Value)
		return err
	}
	if err := eachEntry(r.Reader, take); err != nil {
		if m.has(flawTruncated) {
			return result, nil
		}
		return result, err
	}
	for _, base := range r.Bases {
		err := base.Read(ctx, func(in io.Reader) error {
			return eachEntry(in, func(e entry) error {
				if sum := wanted[e.Key]; sum == "" || e.Base != "" || sum != sumOf(e.Value) {
					return nil
				}
				delete(wanted, e.Key)
				return take(e)
			})
		})
		if err != nil || base.Contents.Format != memoryFormat {
			return result, errors.Join(err, errors.New("the copy's base is damaged"))
		}
	}
	if len(wanted) > 0 && !m.has(flawGap) {
		return result, fmt.Errorf("%d keys are in no base", len(wanted))
	}
	return result, nil
}
