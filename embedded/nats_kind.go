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

func natsKind() Kind {
	return Kind{Backend: "queue/nats", Folder: "nats", Files: natsFiles, Start: func(ctx context.Context, o Options) (*Running, error) {
		n, err := StartNATS(ctx, NATSOptions{Dir: o.Dir})
		if err != nil {
			return nil, err
		}
		secrets := map[string]string{}
		for what, file := range map[string]string{"NATS's operator's seed": n.OperatorSeedFile(), "NATS's system user": n.SystemCredsFile()} {
			text, err := os.ReadFile(file)
			if err != nil {
				return nil, errors.Join(err, n.Stop(ctx))
			}
			secrets[what] = strings.TrimSpace(string(text))
		}
		return &Running{Server: n, Variables: n.variables, Secrets: secrets}, nil
	}}
}

func (n *NATS) variables(connect func(string) string) map[string]string {
	var urls []string
	for _, node := range n.nodes {
		urls = append(urls, "nats://"+connect(localAddress(node.options.Port)))
	}
	return map[string]string{
		"NATS_URL": strings.Join(urls, ","), "NATS_OPERATOR_SEED_FILE": n.OperatorSeedFile(), "NATS_SYSTEM_CREDS_FILE": n.SystemCredsFile(),
	}
}

// natsFiles lists the accounts and the folders of accounts' streams, as the first
// server keeps them in files. The system account is the server's own.
func natsFiles(dir string) ([]string, error) {
	system, err := systemAccount(filepath.Join(dir, natsCredsFile))
	if err != nil {
		return nil, err
	}
	names, node := []string{}, filepath.Join(dir, "n1")
	err = filepath.WalkDir(node, func(path string, entry fs.DirEntry, err error) error {
		// The checksum of a stream's description, without the description, only
		// marks where a stream was.
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

// systemAccount is the account of the user whose credentials the file holds.
func systemAccount(file string) (string, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return "", err
	}
	token, err := jwt.ParseDecoratedJWT(text)
	if err != nil {
		return "", fmt.Errorf("%s: has no token of a user", file) // err might quote it
	}
	claims, err := jwt.DecodeUserClaims(token)
	if err != nil {
		return "", fmt.Errorf("%s: has an invalid token", file)
	}
	return claims.IssuerAccount, nil
}
