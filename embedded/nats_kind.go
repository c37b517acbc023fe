package embedded

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/nats-io/jwt/v2"
)

// Access implements Running.
func (n *NATS) Access(connect func(string) string) (variables, secrets map[string]string) {
	return map[string]string{
		"NATS_URL":                strings.Join(n.urls(connect), ","),
		"NATS_OPERATOR_SEED_FILE": n.OperatorSeedFile(), "NATS_SYSTEM_CREDS_FILE": n.SystemCredsFile(),
	}, map[string]string{"NATS's operator's seed": n.keys.Signer, "NATS's system user": n.keys.User}
}

// Holds implements Running.
func (n *NATS) Holds(context.Context) ([]string, error) { return natsFiles(n.folder.root) }

// natsFiles lists the first server's files of accounts and streams, without those of the
// system account.
func natsFiles(dir string) ([]string, error) {
	system, err := systemAccount(filepath.Join(dir, natsCredsFile))
	if err != nil {
		return nil, err
	}
	names, node := []string{}, filepath.Join(dir, "n1")
	err = filepath.WalkDir(node, func(path string, entry fs.DirEntry, err error) error {
		// A checksum of a stream's description without that description remains of a
		// deleted stream.
		if errors.Is(err, fs.ErrNotExist) || err == nil && (entry.IsDir() || entry.Name() == "meta.sum" || strings.Contains(path, system)) {
			return nil
		}
		if name, _ := filepath.Rel(node, path); err == nil && !strings.Contains(name, "$SYS") {
			names = append(names, name)
		}
		return err
	})
	return names, err
}

// systemAccount is the account of the user whose credentials the file contains.
func systemAccount(file string) (string, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return "", err
	}
	token, err := jwt.ParseDecoratedJWT(text)
	if err != nil {
		return "", fmt.Errorf("%s: contains no user's token", file) // err might quote it
	}
	claims, err := jwt.DecodeUserClaims(token)
	if err != nil {
		return "", fmt.Errorf("%s: contains an invalid token", file)
	}
	return claims.IssuerAccount, nil
}
