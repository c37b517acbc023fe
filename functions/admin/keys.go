package admin

import (
	"context"
	"crypto/sha256"
	"net/http"
	"regexp"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/chandler-broker/chandler/functions/state"
)

// newKey is the body of a PUT. Clients of OpenWhisk call with "id:key".
type newKey struct {
	ID   string `json:"id"`
	Key  string `json:"key"`
	Role string `json:"role"`
}

// storedKey is a key without its secret, of which only a hash is stored.
type storedKey struct {
	Name      string     `json:"name"`
	Namespace string     `json:"namespace"`
	ID        uuid.UUID  `json:"id"`
	Role      string     `json:"role"`
	CreatedAt *time.Time `json:"created_at,omitempty"`
}

func (a *api) listKeys(r *http.Request) (answer, error) {
	rows := func(after string, limit int32) ([]state.KeysRow, error) {
		return a.Store.Keys(r.Context(), a.Store.Pool, state.KeysParams{After: after, Batch: limit})
	}
	return list(r, "keys", rows, func(k state.KeysRow) (string, storedKey) {
		return k.Binding, storedKey{Name: k.Binding, Namespace: k.Namespace, ID: k.Uuid, Role: k.Role}
	})
}

func (a *api) getKey(r *http.Request) (answer, error) {
	k, err := a.Store.Key(r.Context(), a.Store.Pool, state.KeyParams{Namespace: r.PathValue("namespace"), Binding: r.PathValue("key")})
	if err != nil {
		return answer{}, notFoundIs(err, "key")
	}
	return answer{http.StatusOK, storedKey{k.Binding, k.Namespace, k.Uuid, k.Role, &k.CreatedAt}}, nil
}

func (a *api) putKey(r *http.Request) (answer, error) {
	space, name := r.PathValue("namespace"), r.PathValue("key")
	return a.change(r, name, func(ctx context.Context, tx pgx.Tx) error {
		row, err := readKey(r)
		if err != nil {
			return err
		}
		row.Namespace, row.Binding = space, name
		n, err := a.Store.PutKey(ctx, tx, row)
		if err != nil || n > 0 {
			return err
		}
		return a.whyNoKey(ctx, tx, space)
	})
}

func (a *api) whyNoKey(ctx context.Context, tx pgx.Tx, space string) error {
	row, err := a.Store.Namespace(ctx, tx, space)
	switch {
	case err != nil:
		return notFoundIs(err, "namespace")
	case row.EndingAt != nil:
		return errEnding()
	}
	return problemf(http.StatusConflict, "conflict", "key: another namespace has a key of this name")
}

var keyRule = regexp.MustCompile(`^[A-Za-z0-9]{32,128}$`)

func readKey(r *http.Request) (row state.PutKeyParams, err error) {
	var k newKey
	if err := decode(r, &k); err != nil {
		return row, err
	}
	var faults []string
	if row.Uuid, err = uuid.Parse(k.ID); err != nil || len(k.ID) != len(uuid.UUID{}.String()) {
		faults = append(faults, "id: must be a UUID such as 23bc46b1-71f6-4ed5-8c54-816aa4f8c502")
	}
	if !keyRule.MatchString(k.Key) {
		faults = append(faults, "key: must be 32 to 128 of A-Z, a-z and 0-9")
	}
	if k.Role != state.ReadWrite && k.Role != state.Invoke {
		faults = append(faults, `role: must be "read_write" or "invoke"`)
	}
	if len(faults) > 0 {
		return row, invalid(faults...)
	}
	sum := sha256.Sum256([]byte(k.Key))
	row.Hash, row.Role = sum[:], k.Role
	return row, nil
}

func (a *api) deleteKey(r *http.Request) (answer, error) {
	space, name := r.PathValue("namespace"), r.PathValue("key")
	return a.change(r, name, func(ctx context.Context, tx pgx.Tx) error {
		return a.Store.DeleteKey(ctx, tx, state.DeleteKeyParams{Namespace: space, Binding: name})
	})
}
