package servicetest_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/chandler-broker/chandler/services"
)

const memoryFormat = "memory-1"

// entry is a key in a copy, which ends with an empty one.
type entry struct{ Key, Value string }

// Backup marks the instance while it copies, as other backends take a snapshot or grant rights.
func (m *memory) Backup(ctx context.Context, r services.BackupRequest[plan, params]) (services.Contents, error) {
	n := m.name(r.Instance)
	if _, err := m.do(ctx, "put", "snapshot/"+n, "x"); err != nil {
		return services.Contents{}, err
	}
	keys, err := m.copy(ctx, n, r.Writer)
	if err != nil && m.has(flawStays) {
		return services.Contents{}, err
	}
	_, gone := m.do(context.WithoutCancel(ctx), "delete", "snapshot/"+n, "")
	return services.Contents{Format: memoryFormat, Counts: map[string]int64{"keys": int64(keys)}}, errors.Join(err, gone)
}

func (m *memory) copy(ctx context.Context, n string, w io.Writer) (int, error) {
	out := json.NewEncoder(w)
	prefix := "data/" + n + "/"
	keys, err := m.do(ctx, "list", prefix, "")
	if err != nil {
		return 0, err
	}
	if m.has(flawCredentials) {
		accounts, err := m.do(ctx, "list", "binding/"+n+"/", "")
		if err != nil {
			return 0, err
		}
		for _, key := range accounts {
			answer, err := do(ctx, m.config.Address, request{Op: "get", Token: m.config.Token, Key: key})
			if err := errors.Join(err, out.Encode(entry{key, answer.Value})); err != nil {
				return 0, err
			}
		}
	}
	for i, key := range keys {
		if i == 0 && m.has(flawIncomplete) {
			continue
		}
		answer, err := do(ctx, m.config.Address, request{Op: "get", Token: m.config.Token, Key: key})
		if err != nil {
			return 0, err
		}
		if err := out.Encode(entry{strings.TrimPrefix(key, prefix), answer.Value}); err != nil {
			return 0, err
		}
	}
	return len(keys), out.Encode(entry{})
}

func (m *memory) Restore(ctx context.Context, r services.RestoreRequest[plan, params]) (result services.RestoreResult, err error) {
	if r.Contents.Format != memoryFormat && !m.has(flawForeign) {
		return result, services.Rejected("the backup has the format %q: only %q can be restored", r.Contents.Format, memoryFormat)
	}
	in := json.NewDecoder(r.Reader)
	for {
		var e entry
		err := in.Decode(&e)
		switch {
		case err != nil && m.has(flawTruncated):
			return result, nil
		case err != nil:
			return result, fmt.Errorf("read the copy: %w", err)
		case e.Key == "":
			_, err := io.Copy(io.Discard, r.Reader)
			return result, err
		}
		if _, err := m.do(ctx, "put", "data/"+m.name(r.Instance)+"/"+e.Key, e.Value); err != nil {
			return result, err
		}
	}
}
