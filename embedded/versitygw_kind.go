package embedded

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"slices"
)

func startVersityGWKind(ctx context.Context, o KindOptions) (Running, error) {
	binary, err := BuildVersityGW(ctx, o.Progress)
	if err != nil {
		return nil, err
	}
	return StartVersityGW(ctx, VersityGWOptions{Binary: binary, Dir: o.Dir})
}

// Access implements Running.
func (g *VersityGW) Access(connect func(string) string) (variables, secrets map[string]string) {
	return map[string]string{
		"S3_ENDPOINT": "http://" + connect(g.Address()), "S3_ACCESS_KEY_ID": versityRoot, "S3_SECRET_ACCESS_KEY": g.secret,
		"S3_SHARED_FOLDER": g.BucketsFolder(),
	}, map[string]string{"the S3 gateway's root secret": g.secret}
}

// Holds implements Running. It lists the folders of buckets, and the accounts, which are in a
// file.
func (g *VersityGW) Holds(context.Context) ([]string, error) {
	folders, err := os.ReadDir(g.BucketsFolder())
	if err != nil {
		return nil, err
	}
	names := []string{}
	for _, f := range folders {
		if f.Name() != ".vgwlocks" { // empty files that the gateway never removes
			names = append(names, f.Name())
		}
	}
	text, err := os.ReadFile(g.folder.path(versityAccounts + "/users.json"))
	if errors.Is(err, fs.ErrNotExist) { // before the first account
		return names, nil
	} else if err != nil {
		return nil, err
	}
	var file struct {
		Accounts map[string]json.RawMessage `json:"accessAccounts"`
	}
	if err := json.Unmarshal(text, &file); err != nil {
		return nil, fmt.Errorf("read the gateway's accounts: %w", err)
	}
	return append(names, slices.Collect(maps.Keys(file.Accounts))...), nil
}
