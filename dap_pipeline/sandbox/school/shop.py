"""The catalogue shop (namespace `catalog`): products are every third course and five programmes."""

from __future__ import annotations

from .courses import FIRST_COURSE
from .expressions import between, chance, instant, later, maybe, moment, one_of
from .people import CANARY, email
from .recipe import Recipe
from .world import World

PROGRAMS = 5
FIRST_PRODUCT = -(-FIRST_COURSE // 3)  # in thirds


def recipes(world: World) -> list[Recipe]:
    """The tables about the catalogue itself, parents first."""
    return [
        *_accounts(world),
        _users(),
        _products(),
        *_on_products(world),
        *_texts(world),
    ]


def chosen(world: World, number: str) -> str:
    """A product that is a course, for any number."""
    products = (FIRST_COURSE + world.courses - 1) // 3 - FIRST_PRODUCT + 1
    return f"(3 * ({FIRST_PRODUCT} + {world.draw('product', number, products)}))"


def fee_of(product: str) -> str:
    """What a product costs."""
    price = f"9.5 + 10 * (({product}) % 9)"
    return f"CAST(CASE WHEN ({product}) % 5 = 0 THEN 0 ELSE {price} END AS DOUBLE)"


def _accounts(world: World) -> list[Recipe]:
    made = later(instant(world.began), "86400 * 20")
    return [
        Recipe(
            "catalog.accounts",
            f"""
            SELECT 1 + i AS id, CASE WHEN i > 0 THEN 1 END AS parent_id, i, 1 + i AS canvas_id,
                ['University of Example', 'Summer "School"', 'Weiterbildung'][1 + i] AS name,
                ['/', '/summer', '/weiterbildung'][1 + i] AS portal_path, {made} AS created_at
            FROM range(3) t(i)
            """,
            {
                "locale": "['en', 'en', 'de'][1 + i]",
                "canvas_domain": "'school.example.edu'",
                "type": "CASE WHEN i = 0 THEN 'RootAccount' ELSE 'SubAccount' END",
                "deleted_at": "NULL",
            },
        ),
        Recipe(
            "catalog.account_admins",
            f"""
            SELECT u.id - 1000 AS id, u.id AS canvas_user_id, 1 + u.id % 3 AS account_id,
                1 AS root_account_id, u.name, {email("u.id", "u.sortable_name")} AS email,
                greatest(u.created_at, {made}) AS created_at
            FROM canvas.users u WHERE u.id < 1005
            """,
        ),
    ]


def _users() -> Recipe:
    return Recipe(
        "catalog.users",
        f"""
        SELECT (u.id - {CANARY.user_id}) // 4 + 1 AS id, u.id AS canvas_user_id,
            u.name AS user_name, {email("u.id", "u.sortable_name")} AS email_address,
            u.created_at, u.time_zone
        FROM canvas.users u WHERE u.id >= {CANARY.user_id} AND u.id % 4 = 0
        """,
        {
            "root_account_id": "1",
            "registered_account_id": between("account", 1, 3),
            "deleted_at": "NULL",
        },
    )


def _products() -> Recipe:
    return Recipe(
        "catalog.products",
        f"""
        SELECT c.id, c.id AS canvas_course_id, c.name AS title, 'Course' AS type,
            c.start_at AS start_date, c.conclude_at AS end_date, c.created_at,
            c.workflow_state AS course_state
        FROM canvas.courses c WHERE c.id % 3 = 0
        UNION ALL
        SELECT 1 + i, NULL, concat('Certificate programme ', 1 + i), 'Program', NULL, NULL,
            a.created_at, 'available'
        FROM range({PROGRAMS}) t(i), catalog.accounts a WHERE a.id = 1
        """,
        {
            "account_id": "1 + id % 3",
            "enrollment_fee": fee_of("id"),
            "enrollment_open": "course_state = 'available'",
            "visibility": one_of("visibility", ("listed", "listed", "unlisted", "hidden")),
            "path": "concat('product-', id)",
            "workflow_state": "CASE course_state WHEN 'available' THEN 'published'"
            " WHEN 'completed' THEN 'archived'"
            " ELSE 'draft' END",
            "workflow_state_timestamp": "created_at",
            "allowed_payment_types": '\'["credit_card","promotion_code"]\'',
            "sku": "concat('SKU-', lpad(CAST(id AS VARCHAR), 6, '0'))",
            "waitlist": chance("waitlist", 50),
            "sequential": "type = 'Program'",
            "bulk_purchase_disabled": chance("bulk", 700),
            "deleted_at": "NULL",
            "owner_id": "1",
            "credits": maybe("credits", 400, between("points", 1, 10)),
        },
    )


def _on_products(world: World) -> list[Recipe]:
    made = moment("made", "born", world.now_sql)
    tag_names = "['online', 'evening', 'STEM', 'für Anfänger', 'a, b & \"c\"', '免费']"
    return [
        Recipe(
            "catalog.program_requirements",
            f"""
            SELECT p.id * 8 + n AS id, p.id AS program_id, {chosen(world, "n")} AS product_id,
                n AS sequence, p.created_at AS born
            FROM catalog.products p CROSS JOIN range(4) t(n) WHERE p.type = 'Program'
            """,
            {"created_at": made},
        ),
        Recipe(
            "catalog.product_images",
            "SELECT p.id, p.id AS product_id, p.created_at FROM catalog.products p"
            " WHERE p.id % 2 = 0",
        ),
        Recipe(
            "catalog.tags",
            f"""
            SELECT 1 + i AS id, 1 AS account_id, {tag_names}[1 + i] AS name, a.created_at
                FROM range(6) t(i),
                catalog.accounts a WHERE a.id = 1
            """,
        ),
        Recipe(
            "catalog.product_tags",
            "SELECT p.id * 2 + n AS id, p.id AS product_id, 1 + (p.id + n * 2) % 6 AS tag_id,"
            " p.created_at"
            " FROM catalog.products p CROSS JOIN range(2) t(n)",
        ),
        Recipe(
            "catalog.promotions",
            f"""
            SELECT 1 + i AS id, 1 + i % 3 AS account_id, CASE WHEN i % 2 = 0
                THEN {chosen(world, "i")} END AS product_id,
                a.created_at AS born FROM range(8) t(i), catalog.accounts a WHERE a.id = 1
            """,
            {
                "created_at": made,
                "code": "concat('SAVE', id * 5)",
                "name": "concat('Save ', id * 5, ' %')",
                "amount": "id * 5.0",
                "discount_type": "'percentage'",
                "usage_type": one_of("usage", ("single", "unlimited")),
                "start_date": "created_at",
                "end_date": later("created_at", "86400 * 90"),
                "deleted_at": "NULL",
            },
        ),
        Recipe(
            "catalog.applicants",
            f"""
            SELECT u.id, {chosen(world, "u.id * 7")} AS product_id, u.canvas_user_id, u.user_name
                AS name,
                u.email_address AS email, u.created_at AS born FROM catalog.users u
                    WHERE u.id % 6 = 1
            """,
            {"created_at": made, "status": one_of("status", ("waiting", "notified", "enrolled"))},
        ),
        Recipe(
            "catalog.certificate_templates",
            """
            SELECT 1 + i AS id, 1 + i % 3 AS account_id, concat('Template ', 1 + i) AS name,
                '<h1 class="certificate">{{user_name}}</h1>' AS template FROM range(4) t(i)
            """,
        ),
        Recipe(
            "catalog.certificates",
            """
            SELECT p.id, p.id AS product_id, 1 + p.id % 4 AS certificate_template_id,
                CASE WHEN p.id % 7 = 0 THEN 1 + p.id % 3 END AS custom_template_id, p.created_at,
                concat('Certificate: ', p.title) AS name
            FROM catalog.products p WHERE p.id % 2 = 1
            """,
        ),
    ]


def _texts(world: World) -> list[Recipe]:
    made = moment("made", world.newest_from, world.now_sql)
    return [
        Recipe(
            "catalog.categories",
            "SELECT 1 + i AS id, 1 + i % 3 AS account_id, 1 + i AS group_id, 'Group' AS"
            " group_type FROM range(9) t(i)",
        ),
        Recipe(
            "catalog.email_layouts",
            "SELECT 1 + i AS id, 1 + i AS account_id FROM range(3) t(i)",
            {"created_at": made},
        ),
        Recipe(
            "catalog.themes",
            """
            SELECT 1 + i AS id, 1 + i AS themeable_id, 'Account' AS themeable_type,
                concat('Theme ', 1 + i) AS name
            FROM range(3) t(i)
            UNION ALL SELECT p.id, p.id, 'Product', p.title FROM catalog.products p
                WHERE p.id % 12 = 0
            """,
            {
                "css_content": "'a::before { content: \"\\201C\"; }\n.b { color: #02672d }'",
                "js_content": "'document.title += \" | \\u2713\";'",
            },
        ),
        Recipe(
            "catalog.user_defined_fields",
            "SELECT 1 + i AS id, 1 + i % 3 AS account_id, i AS list_order FROM range(7) t(i)",
            {
                "name": "concat('field_', id)",
                "label": one_of("label", ("Department", "Straße, Nr.", 'Why do you "apply"?')),
                "field_type": one_of("type", ("text", "select", "checkbox")),
            },
        ),
    ]
