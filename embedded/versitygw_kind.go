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

func versityGWKind() Kind {
	return Kind{Backend: "filesystem/s3", Folder: "s3", missing: ErrNoVersityGW, Start: func(ctx context.Context, o Options) (*Running, error) {
		binary, err := BuildVersityGW(ctx, o.Progress)
		if err != nil {
			return nil, err
		}
		g, err := StartVersityGW(ctx, VersityGWOptions{Binary: binary, Dir: o.Dir})
		if err != nil {
			return nil, err
		}
		return &Running{Server: g, Variables: g.variables, Holds: g.holds, Secrets: map[string]string{"the S3 gateway's root secret": g.secret}}, nil
	}}
}

func (g *VersityGW) variables(connect func(string) string) map[string]string {
	return map[string]string{
		"S3_ENDPOINT": "http://" + connect(localAddress(g.port)), "S3_ACCESS_KEY_ID": versityRoot, "S3_SECRET_ACCESS_KEY": g.secret,
		"S3_SHARED_FOLDER": g.BucketsFolder(),
	}
}

// holds lists the buckets' folders and the accounts, which the gateway keeps in
// files.
func (g *VersityGW) holds(context.Context) ([]string, error) {
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
	text, err := os.ReadFile(g.folder.path("accounts/users.json"))
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
