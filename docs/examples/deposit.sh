#!/bin/sh
# A deposit with curl and openssl alone: deposit.sh ORIGIN KEY_ID SECRET_HEX PLAYER
set -eu
origin=$1 key_id=$2 secret=$3 player=$4
target="$origin/v1/wallets/$player/deposits"
nonce=$(openssl rand -hex 16)
body="{\"transaction_id\":\"deposit-$nonce\",\"amount_minor\":5000,\"currency\":\"EUR\"}"
digest="sha-256=:$(printf %s "$body" | openssl dgst -sha256 -binary | openssl base64 -A):"
params="(\"@method\" \"@target-uri\" \"content-digest\");created=$(date +%s);nonce=\"$nonce\";keyid=\"$key_id\";alg=\"hmac-sha256\""
base=$(printf '"@method": POST\n"@target-uri": %s\n"content-digest": %s\n"@signature-params": %s' "$target" "$digest" "$params")
signature=$(printf %s "$base" | openssl dgst -sha256 -mac HMAC -macopt "hexkey:$secret" -binary | openssl base64 -A)
curl --silent --show-error --fail-with-body -X POST "$target" -H 'Content-Type: application/json' -H "Content-Digest: $digest" \
    -H "Signature-Input: sig=$params" -H "Signature: sig=:$signature:" --data-binary "$body"
echo
