// Command versitygwserver is the Versity S3 Gateway for `chandler dev` and the tests: the gateway's
// own library over a folder. Its API administers accounts and buckets as that of any gateway.
package main

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"net/http"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/gofiber/fiber/v3"
	"github.com/versity/versitygw/auth"
	"github.com/versity/versitygw/backend"
	"github.com/versity/versitygw/backend/meta"
	"github.com/versity/versitygw/backend/posix"
	"github.com/versity/versitygw/embedgw"
	"github.com/versity/versitygw/s3api"
	"github.com/versity/versitygw/s3api/utils"
	"github.com/versity/versitygw/s3err"
)

// options are the flags. None is secret, because every user of the machine can read arguments.
type options struct {
	listen   string
	data     string
	accounts string
	region   string
	certFile string
	keyFile  string
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
	err := run(ctx, parseFlags())
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "versitygwserver:", err)
		os.Exit(1)
	}
}

func parseFlags() options {
	var o options
	flag.StringVar(&o.listen, "listen", "127.0.0.1:7070", "address to listen on")
	flag.StringVar(&o.data, "data", "", "folder that holds the buckets, one folder each; it must exist")
	flag.StringVar(&o.accounts, "accounts", "", "folder that holds the accounts; it must exist")
	flag.StringVar(&o.region, "region", "us-east-1", "the region that clients sign for")
	flag.StringVar(&o.certFile, "tls-cert-file", "", "certificate chain in PEM; plain HTTP without it")
	flag.StringVar(&o.keyFile, "tls-key-file", "", "private key of the certificate in PEM")
	flag.Parse()
	return o
}

// run serves until ctx ends. The root account is in the environment, in the variables of the
// gateway's own command.
func run(ctx context.Context, o options) error {
	access, secret := os.Getenv("ROOT_ACCESS_KEY"), os.Getenv("ROOT_SECRET_KEY")
	if access == "" || secret == "" {
		return errors.New("ROOT_ACCESS_KEY and ROOT_SECRET_KEY must be set: they are the root account")
	}
	if o.data == "" || o.accounts == "" {
		return errors.New("-data and -accounts must both name a folder")
	}
	// The storage changes the working directory to its own folder.
	accounts, err := filepath.Abs(o.accounts)
	if err != nil {
		return fmt.Errorf("-accounts: %w", err)
	}
	storage, err := openStorage(o.data)
	if err != nil {
		return err
	}
	return embedgw.RunVersityGW(ctx, storage, &embedgw.Config{
		RootUserAccess: access,
		RootUserSecret: secret,
		Region:         o.region,
		Ports:          []string{o.listen},
		CertFile:       o.certFile,
		KeyFile:        o.keyFile,
		Quiet:          true,
		IAMDir:         accounts,
		// Each request has its own connection: the gateway does not read all bytes of an
		// empty object in signed chunks, and would take the rest for a request.
		KeepAlive: false,
		// The cache of accounts has keys in the memory of a request, which the next request
		// overwrites: it may return another account, or one that was removed.
		IAMCacheDisable: true,
		// The defaults of the gateway's own command.
		MaxConnections:    250000,
		MaxRequests:       100000,
		MultipartMaxParts: 10000,
		S3Options:         []s3api.Option{s3api.WithMiddleware("/", ownBucket(storage))},
	})
}

// openStorage opens a folder. Its file system must support extended attributes, which contain the
// objects' metadata.
func openStorage(folder string) (backend.Backend, error) {
	if err := (meta.XattrMeta{}).Test(folder); err != nil {
		return nil, fmt.Errorf("-data: %w: choose a folder on another file system, such as ext4, XFS or btrfs", err)
	}
	var o posix.PosixOpts
	o.SetNewDirPerm(0o700)
	o.SetNewFilePerm(0o600)
	o.CopyObjectThreshold = 5 << 30 // what S3 allows; without it nothing can be copied
	storage, err := posix.New(folder, meta.XattrMeta{}, o)
	if err != nil {
		return nil, fmt.Errorf("-data: %w", err)
	}
	return distinct{storage}, nil
}

// ownBucket answers BucketAlreadyOwnedByYou, as S3 does, to an account that makes the bucket
// that it already uses. Some programs make their bucket before they write to it, and the gateway
// would refuse them, because only the administrator makes buckets.
func ownBucket(storage backend.Backend) fiber.Handler {
	return func(ctx fiber.Ctx) error {
		if err := ctx.Next(); err != nil {
			return err
		}
		bucket := strings.Trim(ctx.Path(), "/")
		makes := ctx.Method() == http.MethodPut && !strings.Contains(bucket, "/") && len(ctx.Request().URI().QueryString()) == 0
		if !makes || !bytes.Contains(ctx.Response().Body(), []byte("<Code>AccessDenied</Code>")) {
			return nil
		}
		account, _ := utils.ContextKeyAccount.Get(ctx).(auth.Account)
		text, err := storage.GetBucketPolicy(ctx.RequestCtx(), bucket)
		if err != nil || !named(text, account.Access) {
			return nil
		}
		answer := s3err.GetBucketErr(s3err.ErrBucketAlreadyOwnedByYou, bucket)
		request, host := utils.EnsureRequestIDs(ctx)
		return ctx.Status(answer.StatusCode()).Send(answer.XMLBody(request, host))
	}
}

// named says whether a policy names an account.
func named(policy []byte, account string) bool {
	document, err := auth.ParsePolicyDocument(policy)
	if err != nil {
		return false
	}
	for _, statement := range document.Statement {
		if _, ok := statement.Principals[account]; ok {
			return true
		}
	}
	return false
}
