#include "testing.h"

#include <errno.h>
#include <string.h>

#include "common/buf.h"
#include "common/template.h"

CLEANUP_DEFINE(json_t *, json_decref);

struct example {
    const char *template, *data, *want;
};

static void render_one(const struct example *x, enum escape escape)
{
    struct err e = {0};
    CLEANUP(arena_free) struct arena *a = arena_new(1 << 20);
    CLEANUP(json_decref)
    json_t *data = json_loads(x->data, JSON_DECODE_ANY | JSON_REJECT_DUPLICATES, NULL);
    if (!data)
        fail_msg("the test's data is no JSON: %s", x->data);
    CLEANUP(template_free) struct template *t = template_compile(x->template, &e);
    if (!t)
        fail_msg("%s: %s", x->template, e.msg);
    size_t len = 12345;
    const char *got = template_render(t, data, escape, a, &len);
    assert_non_null(got);
    if (strcmp(got, x->want) != 0)
        fail_msg("[%s] with %s\n gave [%s]\n want [%s]", x->template, x->data, got, x->want);
    assert_int_equal(len, strlen(x->want));
}

#define RENDER(examples, escape)                                                                   \
    for (size_t i_ = 0; i_ < sizeof(examples) / sizeof((examples)[0]); i_++)                       \
    render_one(&(examples)[i_], (escape))

static void text_is_left_alone(void **state)
{
    (void)state;
    static const struct example cases[] = {
        {"", "{}", ""},
        {"as it is: { } }} {x} <b> & \\\n", "{}", "as it is: { } }} {x} <b> & \\\n"},
        {"\xE5\x91\x8A\xE8\xAD\xA6 {{x}}\r\n", "{\"x\":\"\xF0\x9F\x94\xA5\"}",
         "\xE5\x91\x8A\xE8\xAD\xA6 \xF0\x9F\x94\xA5\r\n"},
    };
    RENDER(cases, ESCAPE_HTML);
}

static void values(void **state)
{
    (void)state;
    static const struct example cases[] = {
        {"{{x}}", "{\"x\":\"v\"}", "v"},
        {"a{{x}}b{{y}}c{{x}}", "{\"x\":\"1\",\"y\":\"2\"}", "a1b2c1"},
        {"{{ x }}{{\tx\n}}", "{\"x\":\"v\"}", "vv"},
        {"[{{x}}]", "{}", "[]"},
        {"[{{x}}]", "{\"x\":null}", "[]"},
        {"[{{x}}]", "{\"x\":\"\"}", "[]"},
        {"{{x}} {{y}} {{z}}", "{\"x\":85,\"y\":-3,\"z\":9007199254740993}",
         "85 -3 9007199254740993"},
        {"{{x}} {{y}}", "{\"x\":1.21,\"y\":0.1}", "1.21 0.1"},
        {"{{x}} {{y}}", "{\"x\":true,\"y\":false}", "true false"},
        {"{{{x}}} {{{y}}}", "{\"x\":{\"b\":1,\"a\":[true,\"t\"]},\"y\":[]}",
         "{\"b\":1,\"a\":[true,\"t\"]} []"},
        {"{{x}}", "{\"x\":\"{{y}}\",\"y\":\"parsed again\"}", "{{y}}"},
        {"{{x-y_z/1}}", "{\"x-y_z/1\":\"any name\"}", "any name"},
        {"  {{x}}\n", "{\"x\":\"no standalone line\"}", "  no standalone line\n"},
        {"{{x}}", "{\"x\":\"two\\nlines\"}", "two\nlines"},
        {"{{x}}", "[]", ""},
        {"{{x}}", "\"text\"", ""},
    };
    RENDER(cases, ESCAPE_NONE);
}

static void escaped_and_raw(void **state)
{
    (void)state;
    static const struct example cases[] = {
        {"{{x}}", "{\"x\":\"& \\\" < > '\"}", "&amp; &quot; &lt; &gt; &#39;"},
        {"{{{x}}}", "{\"x\":\"& \\\" < > '\"}", "& \" < > '"},
        {"{{&x}}", "{\"x\":\"& \\\" < > '\"}", "& \" < > '"},
        {"{{{ x }}}|{{ & x }}|{{& x}}", "{\"x\":\"<\"}", "<|<|<"},
        {"[{{{x}}}{{&x}}]", "{}", "[]"},
        {"  {{{x}}}\n  {{&x}}\n", "{\"x\":\"<\"}", "  <\n  <\n"},
        {"{{x}}", "{\"x\":{\"k\":\"<\"}}", "{&quot;k&quot;:&quot;&lt;&quot;}"},
        {"{{x}}", "{\"x\":\"&amp;\"}", "&amp;amp;"},
    };
    RENDER(cases, ESCAPE_HTML);
}

static void dotted_names(void **state)
{
    (void)state;
    static const struct example cases[] = {
        {"{{a.b.c}}", "{\"a\":{\"b\":{\"c\":\"deep\"}}}", "deep"},
        {"{{{a.b}}} {{&a.b}}", "{\"a\":{\"b\":\"raw\"}}", "raw raw"},
        {"[{{a.b.c}}]", "{\"a\":{}}", "[]"},
        {"[{{a.b.c}}]", "{\"a\":{\"b\":\"text\"}}", "[]"},
        {"[{{a.b}}]", "{\"b\":\"not this\",\"a\":{}}", "[]"},
        {"[{{a.b}}]", "{\"a.b\":\"not this\"}", "[]"},
        /* the first part is looked for outwards, the others are not */
        {"{{#a}}{{b.c}}{{/a}}", "{\"a\":{\"x\":1},\"b\":{\"c\":\"outer\"}}", "outer"},
        {"{{#a}}[{{b.c}}]{{/a}}", "{\"a\":{\"b\":{}},\"b\":{\"c\":\"hidden\"}}", "[]"},
        {"{{#a}}[{{b.c}}]{{/a}}", "{\"a\":{\"b\":null},\"b\":{\"c\":\"hidden\"}}", "[]"},
        {"{{#a.b}}{{c}}{{/a.b}}", "{\"a\":{\"b\":{\"c\":\"in\"}}}", "in"},
        {"{{#a.b}}no{{/a.b}}{{^a.b}}yes{{/a.b}}", "{\"a\":{}}", "yes"},
        {"{{#a}}{{.}}{{/a}}{{#a}}{{a.0}}{{/a}}", "{\"a\":[\"x\"]}", "x"},
    };
    RENDER(cases, ESCAPE_NONE);
}

static void sections(void **state)
{
    (void)state;
    static const struct example cases[] = {
        {"[{{#x}}shown{{/x}}]", "{\"x\":true}", "[shown]"},
        {"[{{#x}}shown{{/x}}]", "{\"x\":false}", "[]"},
        {"[{{#x}}shown{{/x}}]", "{\"x\":null}", "[]"},
        {"[{{#x}}shown{{/x}}]", "{}", "[]"},
        {"[{{#x}}shown{{/x}}]", "{\"x\":\"\"}", "[]"},
        {"[{{#x}}shown{{/x}}]", "{\"x\":[]}", "[]"},
        {"[{{#x}}shown{{/x}}]", "{\"x\":{}}", "[shown]"},
        {"[{{#x}}shown{{/x}}]", "{\"x\":0}", "[shown]"},
        {"{{#x}}{{y}}{{/x}}", "{\"x\":{\"y\":\"inner\"},\"y\":\"outer\"}", "inner"},
        {"{{#x}}{{y}}{{/x}}", "{\"x\":{},\"y\":\"outer\"}", "outer"},
        {"{{#x}}{{n}},{{/x}}", "{\"x\":[{\"n\":1},{\"n\":2},{\"n\":3}]}", "1,2,3,"},
        {"{{#x}}{{n}}{{m}} {{/x}}{{m}}",
         "{\"x\":[{\"n\":1},{\"n\":2,\"m\":\"own\"}],\"m\":\"outer\"}", "1outer 2own outer"},
        {"{{#x}}{{#y}}{{n}}{{.}} {{/y}}{{/x}}",
         "{\"x\":[{\"n\":\"a\",\"y\":[1,2]},{\"n\":\"b\",\"y\":[3]}]}", "a1 a2 b3 "},
        {"{{#x}}1{{#x}}2{{#x}}3{{/x}}{{/x}}{{/x}}", "{\"x\":true}", "123"},
        {"{{#x}}a{{/x}} b {{#x}}c{{/x}}", "{\"x\":true}", "a b c"},
        {"{{# x }}{{/ x}}|{{#x}}v{{/x }}", "{\"x\":true}", "|v"},
        {"{{#x}}{{x}}{{/x}}", "{\"x\":\"itself\"}", "itself"},
        {"{{#a}}{{#b}}{{#c}}{{z}}{{y}}{{x}}{{/c}}{{/b}}{{/a}}",
         "{\"a\":{\"x\":1},\"b\":{\"y\":2},\"c\":{\"z\":3}}", "321"},
    };
    RENDER(cases, ESCAPE_NONE);
}

static void inverted_sections(void **state)
{
    (void)state;
    static const struct example cases[] = {
        {"[{{^x}}none{{/x}}]", "{\"x\":false}", "[none]"},
        {"[{{^x}}none{{/x}}]", "{\"x\":null}", "[none]"},
        {"[{{^x}}none{{/x}}]", "{}", "[none]"},
        {"[{{^x}}none{{/x}}]", "{\"x\":[]}", "[none]"},
        {"[{{^x}}none{{/x}}]", "{\"x\":\"\"}", "[none]"},
        {"[{{^x}}none{{/x}}]", "{\"x\":true}", "[]"},
        {"[{{^x}}none{{/x}}]", "{\"x\":0}", "[]"},
        {"[{{^x}}none{{/x}}]", "{\"x\":{}}", "[]"},
        {"[{{^x}}none{{/x}}]", "{\"x\":[0]}", "[]"},
        {"{{^x}}1{{^y}}2{{/y}}{{/x}}{{#y}}3{{/y}}", "{\"y\":true}", "13"},
        {"{{#list}}{{n}}{{/list}}{{^list}}empty{{/list}}", "{\"list\":[]}", "empty"},
        {"{{^x}}{{y}}{{/x}}", "{\"y\":\"same context\"}", "same context"},
    };
    RENDER(cases, ESCAPE_NONE);
}

static void implicit_iterator(void **state)
{
    (void)state;
    static const struct example cases[] = {
        {"{{.}}", "\"root\"", "root"},
        {"{{#x}}({{.}}){{/x}}", "{\"x\":[\"a\",1,2.5,true]}", "(a)(1)(2.5)(true)"},
        {"{{#x}}({{.}}){{/x}}", "{\"x\":[null,false]}", "()(false)"},
        {"{{#x}}({{#.}}{{.}}{{/.}}){{/x}}", "{\"x\":[[1,2],[3]]}", "(12)(3)"},
        {"{{#.}}{{n}}{{/.}}", "[{\"n\":1},{\"n\":2}]", "12"},
        {"{{#x}}{{.}}{{/x}}", "{\"x\":\"text\"}", "text"},
        {"{{#x}}{{^.}}none{{/.}}{{/x}}", "{\"x\":[[],[1]]}", "none"},
    };
    RENDER(cases, ESCAPE_NONE);
    static const struct example escaping[] = {
        {"{{#x}}{{.}}{{{.}}}{{&.}}{{/x}}", "{\"x\":[\"<\"]}", "&lt;<<"},
    };
    RENDER(escaping, ESCAPE_HTML);
}

static void comments(void **state)
{
    (void)state;
    static const struct example cases[] = {
        {"a{{! never }}b", "{}", "ab"},
        {"a{{!}}b{{!!}}c", "{}", "abc"},
        {"a {{! two\nlines }} b", "{}", "a  b"},
        {"a{{! {{x} {{ }}b", "{}", "ab"},
        {"a{{!x}}b", "{\"!x\":\"v\",\"x\":\"v\"}", "ab"},
        {"{{! first }}\na\n  {{! alone }}  \nb\n{{! last }}", "{}", "a\nb\n"},
        {"a\n{{! two\n  lines }}\nb", "{}", "a\nb"},
        {"a {{! beside }}\nb", "{}", "a \nb"},
        {"\r\n{{! crlf }}\r\nb", "{}", "\r\nb"},
    };
    RENDER(cases, ESCAPE_NONE);
}

static void lines_of_their_own(void **state)
{
    (void)state;
    static const struct example cases[] = {
        {"a\n{{#x}}\nb\n{{/x}}\nc\n", "{\"x\":true}", "a\nb\nc\n"},
        {"a\n  {{#x}}\t \nb\n\t{{/x}}  \nc\n", "{\"x\":true}", "a\nb\nc\n"},
        {"a\r\n{{#x}}\r\nb\r\n{{/x}}\r\nc", "{\"x\":true}", "a\r\nb\r\nc"},
        {"{{#x}}\nb\n{{/x}}", "{\"x\":true}", "b\n"},
        {"  {{#x}}\nb\n  {{/x}}  ", "{\"x\":true}", "b\n"},
        {"a\n{{^x}}\nb\n{{/x}}\nc\n", "{}", "a\nb\nc\n"},
        {"{{#x}}\n- {{.}}\n{{/x}}\n", "{\"x\":[1,2]}", "- 1\n- 2\n"},
        {"{{#x}}\n{{#y}}\nv\n{{/y}}\n{{/x}}\n", "{\"x\":1,\"y\":1}", "v\n"},
        {"\n\n{{#x}}\n\nb\n\n{{/x}}\n\n", "{\"x\":true}", "\n\n\nb\n\n\n"},
        /* something else on the line: it stays as it is */
        {" {{#x}} b {{/x}} \n", "{\"x\":true}", "  b  \n"},
        {"a {{#x}}\nb\n{{/x}}\n", "{\"x\":true}", "a \nb\n"},
        {"{{#x}} a\nb\n{{/x}} c\n", "{\"x\":true}", " a\nb\n c\n"},
        {"{{#x}}{{/x}}\nb", "{\"x\":true}", "\nb"},
        {"{{! c }}{{#x}}\nb{{/x}}", "{\"x\":true}", "\nb"},
        {"  {{x}}\n{{x}}\n", "{\"x\":\"\"}", "  \n\n"},
        {"{{#x}}\rb{{/x}}", "{\"x\":true}", "\rb"},
    };
    RENDER(cases, ESCAPE_NONE);
}

static void escape_angle(void **state)
{
    (void)state;
    static const struct example cases[] = {
        {"{{x}}", "{\"x\":\"<!channel> & 'a' \\\"b\\\" *c*\"}",
         "&lt;!channel&gt; &amp; 'a' \"b\" *c*"},
    };
    RENDER(cases, ESCAPE_ANGLE);
}

static void escape_none(void **state)
{
    (void)state;
    static const struct example cases[] = {
        {"{{x}}", "{\"x\":\"<>&'\\\"*_`[](#\"}", "<>&'\"*_`[](#"},
    };
    RENDER(cases, ESCAPE_NONE);
}

#define ZW "\xE2\x80\x8B"
#define STAR "\xEF\xBC\x8A"
#define TICK "\xEF\xBD\x80"
#define LOW "\xEF\xBC\xBF"

static void escape_markdown(void **state)
{
    (void)state;
    static const struct example cases[] = {
        {"**{{x}}**", "{\"x\":\"plain, text: 5% (ok)!\"}", "**plain, text: 5% (ok)!**"},
        {"{{x}}", "{\"x\":\"<font color=\\\"red\\\">a</font> <@all>\"}",
         "&lt;font color=\"red\"&gt;a&lt;/font&gt; &lt;@all&gt;"},
        {"{{x}}", "{\"x\":\"**bold** and `code`\"}",
         STAR STAR "bold" STAR STAR " and " TICK "code" TICK},
        {"{{x}}", "{\"x\":\"disk_usage_high __init__ _it_ a_\"}",
         "disk_usage_high " LOW "_init_" LOW " " LOW "it" LOW " a" LOW},
        {"{{x}}", "{\"x\":\"_\"}", LOW},
        {"{{x}}", "{\"x\":\"\xE5\x91\x8A_\xE8\xAD\xA6\"}", "\xE5\x91\x8A_\xE8\xAD\xA6"},
        {"{{x}}", "{\"x\":\"[a](http://x) ![i](u) [r][1]\"}",
         "[a]" ZW "(http://x) ![i]" ZW "(u) [r]" ZW "[1]" ZW},
        {"{{x}}", "{\"x\":\"rate(x[5m]) a[0]=1\"}", "rate(x[5m]) a[0]=1"},
        {"[{{x}}](u)", "{\"x\":\"a] b\"}", "[a] b](u)"},
        {"{{x}}", "{\"x\":\"# head\\n## two\\n  # three\\nno # four\"}",
         ZW "# head\n" ZW "## two\n  " ZW "# three\nno # four"},
        {"{{x}}", "{\"x\":\"> quote\\n- item\\n+ item\\n--- \\n===\\n~~~\\n|t|\"}",
         "&gt; quote\n" ZW "- item\n" ZW "+ item\n" ZW "--- \n" ZW "===\n" ZW "~~~\n" ZW "|t|"},
        {"{{x}} {{y}}", "{\"x\":-5,\"y\":\"+3 a-b a - b ~1 =x -\"}", "-5 +3 a-b a - b ~1 =x -"},
        {"{{x}}", "{\"x\":\"a\\n-\"}", "a\n" ZW "-"},
        {"{{x}}", "{\"x\":\"http://h/p?a=1&b=2#f\"}", "http://h/p?a=1&b=2#f"},
        {"{{{x}}}", "{\"x\":\"**raw** <b>\"}", "**raw** <b>"},
    };
    RENDER(cases, ESCAPE_MARKDOWN);
}

static void escape_backslash(void **state)
{
    (void)state;
    static const struct example cases[] = {
        {"**{{x}}**", "{\"x\":\"*a* `b` [c](d) ~e~ |f| > \\\\\"}",
         "**\\*a\\* \\`b\\` \\[c\\](d) \\~e\\~ \\|f\\| \\> \\\\**"},
        {"{{x}}", "{\"x\":\"disk_usage _it_\"}", "disk_usage \\_it\\_"},
        {"{{x}}", "{\"x\":\"@here <@7>\"}", "@" ZW "here <" ZW "@" ZW "7\\>"},
        {"{{x}}", "{\"x\":\"# a\\n- b\\nc - d\"}", ZW "# a\n" ZW "- b\nc - d"},
        {"{{{x}}}", "{\"x\":\"**raw**\"}", "**raw**"},
    };
    RENDER(cases, ESCAPE_BACKSLASH);
}

static void json_stays_within_its_string(void **state)
{
    (void)state;
    static const struct example cases[] = {
        {"{\"a\": \"{{x}}\"}", "{\"x\":\"say \\\"hi\\\" \\\\ 世\"}",
         "{\"a\": \"say \\\"hi\\\" \\\\ 世\"}"},
        {"{{x}}", "{\"x\":\"a\\nb\\tc\\rd\\u0001\"}", "a\\nb\\tc\\rd\\u0001"},
        {"{{{x}}}", "{\"x\":{\"k\":[\"\\\"\"]}}", "{\"k\":[\"\\\"\"]}"},
        {"{{x}}", "{\"x\":7}", "7"},
    };
    RENDER(cases, ESCAPE_JSON);
}

static void a_bad_template_says_where(void **state)
{
    (void)state;
    static const struct {
        const char *text, *msg;
    } cases[] = {
        {"{{x", "1:1: this tag is never closed"},
        {"a\nbc {{x}", "2:4: this tag is never closed"},
        {"{{{x}}", "1:1: this tag is never closed"},
        {"{{!x", "1:1: this tag is never closed"},
        {"{{", "1:1: this tag is never closed"},
        {"{{}}", "1:1: a name is missing"},
        {"{{ # }}", "1:1: a name is missing"},
        {"{{{ }}}", "1:1: a name is missing"},
        {"\xE5\x91\x8A {{a b}}", "1:3: this is no name: a b"},
        {"{{a..b}}", "1:1: this is no name: a..b"},
        {"{{.a}}", "1:1: this is no name: .a"},
        {"{{a.}}", "1:1: this is no name: a."},
        {"{{a}b}}", "1:1: this is no name: a}b"},
        {"{{#x}}", "1:4: this section is never closed: x"},
        {"\n{{#x}}{{#y}}{{/y}}", "2:4: this section is never closed: x"},
        {"{{/x}}", "1:1: nothing is open that this could close: x"},
        {"{{#x}}\n {{/y}}", "2:2: the section to be closed here is x"},
        {"{{#x}}{{#y}}{{/x}}{{/y}}", "1:13: the section to be closed here is y"},
        {"{{> p}}", "1:1: partials are not supported"},
        {"{{=<% %>=}}", "1:1: delimiters cannot be changed"},
        {"{{<p}}{{/p}}", "1:1: inheritance is not supported"},
        {"{{$b}}{{/b}}", "1:1: inheritance is not supported"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct err e = {0};
        struct template *t = template_compile(cases[i].text, &e);
        if (t)
            fail_msg("%s compiled", cases[i].text);
        assert_string_equal(e.msg, cases[i].msg);
        assert_int_equal(e.code, -EINVAL);
        assert_null(template_compile(cases[i].text, NULL));
    }
}

static struct template *nested(int n, struct err *e)
{
    CLEANUP(buf_release) struct buf b = BUF_INIT(10000);
    for (int i = 0; i < n; i++)
        buf_puts(&b, i % 2 ? "{{#x}}" : "{{^y}}");
    buf_puts(&b, "deep");
    for (int i = n; i-- > 0;)
        buf_puts(&b, i % 2 ? "{{/x}}" : "{{/y}}");
    return template_compile(buf_str(&b), e);
}

static void sixteen_sections_nest_and_seventeen_do_not(void **state)
{
    (void)state;
    struct err e = {0};
    CLEANUP(arena_free) struct arena *a = arena_new(1000);
    CLEANUP(json_decref) json_t *data = json_pack("{s:[i]}", "x", 1);
    CLEANUP(template_free) struct template *t = nested(16, &e);
    assert_non_null(t);
    assert_string_equal(template_render(t, data, ESCAPE_NONE, a, NULL), "deep");
    assert_null(nested(17, &e));
    assert_string_equal(e.msg, "1:97: sections are nested too deeply");
}

static void output_is_bounded(void **state)
{
    (void)state;
    struct err e = {0};
    size_t len = 77;
    CLEANUP(json_decref) json_t *data = json_pack("{s:s, s:[]}", "s", "0123456789", "l");
    for (int i = 0; i < 100; i++)
        assert_int_equal(json_array_append_new(json_object_get(data, "l"), json_integer(i)), 0);
    CLEANUP(template_free) struct template *t = template_compile("{{s}}", &e);
    CLEANUP(arena_free) struct arena *exact = arena_new(11);
    CLEANUP(arena_free) struct arena *small = arena_new(10);
    assert_string_equal(template_render(t, data, ESCAPE_NONE, exact, &len), "0123456789");
    assert_int_equal(len, 10);
    len = 77;
    assert_null(template_render(t, data, ESCAPE_NONE, small, &len));
    assert_int_equal(len, 77);

    CLEANUP(template_free) struct template *number = template_compile("{{#l}}{{.}}{{/l}}", &e);
    assert_null(template_render(number, data, ESCAPE_NONE, small, &len));

    /* A hundred million repetitions end at the cap, not with the hour. */
    CLEANUP(template_free)
    struct template *bomb =
        template_compile("{{#l}}{{#l}}{{#l}}{{#l}}{{s}}{{/l}}{{/l}}{{/l}}{{/l}}", &e);
    CLEANUP(arena_free) struct arena *large = arena_new(64 << 20);
    assert_null(template_render(bomb, data, ESCAPE_NONE, large, &len));
}

static void one_template_renders_many_times(void **state)
{
    (void)state;
    struct err e = {0};
    char text[] = "{{#l}}{{n}} {{/l}}";
    CLEANUP(template_free) struct template *t = template_compile(text, &e);
    assert_non_null(t);
    memset(text, 'X', sizeof(text) - 1); /* the template kept a copy */
    CLEANUP(arena_free) struct arena *a = arena_new(10000);
    for (int i = 0; i < 50; i++) {
        CLEANUP(json_decref) json_t *data = json_pack("{s:[{s:i}{s:i}]}", "l", "n", i, "n", i + 1);
        CLEANUP(buf_release) struct buf want = BUF_INIT(100);
        buf_printf(&want, "%d %d ", i, i + 1);
        assert_string_equal(template_render(t, data, ESCAPE_NONE, a, NULL), buf_str(&want));
        arena_reset(a);
    }
    assert_string_equal(template_render(t, NULL, ESCAPE_NONE, a, NULL), "");
    template_free(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(text_is_left_alone),
        cmocka_unit_test(values),
        cmocka_unit_test(escaped_and_raw),
        cmocka_unit_test(dotted_names),
        cmocka_unit_test(sections),
        cmocka_unit_test(inverted_sections),
        cmocka_unit_test(implicit_iterator),
        cmocka_unit_test(comments),
        cmocka_unit_test(lines_of_their_own),
        cmocka_unit_test(escape_angle),
        cmocka_unit_test(escape_none),
        cmocka_unit_test(escape_markdown),
        cmocka_unit_test(escape_backslash),
        cmocka_unit_test(json_stays_within_its_string),
        cmocka_unit_test(a_bad_template_says_where),
        cmocka_unit_test(sixteen_sections_nest_and_seventeen_do_not),
        cmocka_unit_test(output_is_bounded),
        cmocka_unit_test(one_template_renders_many_times),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
