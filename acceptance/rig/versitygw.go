package rig

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"

	"github.com/chandler-broker/chandler/embedded"
)

func startVersityGW(ctx context.Context, d *Deployment, s *Server) (map[string]string, error) {
	binary, err := embedded.BuildVersityGW(ctx, io.Discard)
	if err != nil {
		return nil, err
	}
	server, err := embedded.StartVersityGW(ctx, embedded.VersityGWOptions{Binary: binary, Dir: d.path("s3")})
	if err != nil {
		return nil, err
	}
	s.process = server
	s.holds = func(context.Context) ([]string, error) {
		return versityGWHolds(server.BucketsFolder(), d.path("s3/accounts"))
	}
	d.Secrets.Add("the S3 gateway's root secret", server.SecretAccessKey())
	endpoint, err := url.Parse(server.Endpoint())
	if err != nil {
		return nil, err
	}
	port, err := strconv.Atoi(endpoint.Port())
	if err != nil {
		return nil, err
	}
	proxy, err := s.proxy(endpoint.Hostname(), port)
	if err != nil {
		return nil, err
	}
	return map[string]string{
		"S3_ENDPOINT": "http://" + proxy.Addr(), "S3_ACCESS_KEY_ID": server.AccessKeyID(), "S3_SECRET_ACCESS_KEY": server.SecretAccessKey(),
		"S3_SHARED_FOLDER": server.BucketsFolder(),
	}, nil
}

// versityLocks is the gateway's own folder beside the buckets: empty files that it
// never removes.
const versityLocks = ".vgwlocks"

// versityGWHolds are the buckets' folders and the accounts, as the gateway keeps
// them in files.
func versityGWHolds(buckets, accounts string) ([]string, error) {
	folders, err := os.ReadDir(buckets)
	if err != nil {
		return nil, err
	}
	names := []string{}
	for _, f := range folders {
		if f.Name() != versityLocks {
			names = append(names, f.Name())
		}
	}
	text, err := os.ReadFile(filepath.Join(accounts, "users.json"))
	if errors.Is(err, fs.ErrNotExist) { // before the first account
		return names, nil
	} else if err != nil {
		return nil, err
	}
	var file struct {
		Accounts map[string]json.RawMessage `json:"accessAccounts"`
	}
	if err := json.Unmarshal(text, &file); err != nil {
		return nil, fmt.Errorf("the gateway's accounts are not understood: %w", err)
	}
	return append(names, slices.Collect(maps.Keys(file.Accounts))...), nil
}
