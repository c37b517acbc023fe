package nats

import (
	"context"
	"fmt"
	"strings"

	"github.com/nats-io/jwt/v2"
)

// delete removes the account from all servers.
func (a *account) delete(ctx context.Context) error {
	request, err := a.b.keys.deletion(a.public)
	if err != nil {
		return err
	}
	if _, err := a.b.link.all(ctx, a.there, deleteSubject, []byte(request)); err != nil {
		return fmt.Errorf("delete the account: %w", err)
	}
	return nil
}

// deletion is the operator's order to delete accounts.
func (k *keyring) deletion(accounts ...string) (string, error) {
	claims := jwt.NewGenericClaims(k.issuer)
	claims.Data["accounts"] = append([]string{}, accounts...)
	order, err := claims.Encode(k.operator)
	if err != nil {
		return "", fmt.Errorf("sign the deletion: %w", err)
	}
	return order, nil
}

func joinedNames(names []string) string { return strings.Join(names, ", ") }
