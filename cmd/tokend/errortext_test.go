package main

import "regexp"

// goTypes are words of a program's inside, which no message for people has.
var goTypes = regexp.MustCompile(`\*?\b(errors|fmt|json|toml|x509|asn1|pem|url|net|fs|exec|strconv|time|os|tls)\.[A-Z]\w+|` +
	`(^|[ (:])(json|toml|x509|asn1|pem|pkcs12|tls|strconv|cobra|pflag): |&\{|%!|goroutine \d|panic:|cannot unmarshal|invalid character|` +
	`unexpected end of JSON|<nil>|0xc0[0-9a-f]{6}`)
