package main

import (
	"bytes"
	"net/http"
	"strings"

	"github.com/gofiber/fiber/v3"
	"github.com/versity/versitygw/auth"
	"github.com/versity/versitygw/backend"
	"github.com/versity/versitygw/s3api/utils"
	"github.com/versity/versitygw/s3err"
)

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
